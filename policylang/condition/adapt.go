package condition

import (
	"encoding/json"
	"fmt"
	"reflect"
	"time"

	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/common/types/traits"

	"github.com/posternhq/postern/policylang"
)

// The names of the object types. They cannot be constructed in an expression.
const (
	identityTypeName  = "postern.Identity"
	sessionTypeName   = "postern.Session"
	statementTypeName = "postern.Statement"
	relationTypeName  = "postern.Relation"
)

// unknownVal is what the facts do not say. CEL carries it through every
// function and lets && and || decide without it where they can.
func unknownVal() ref.Val { return types.NewUnknown(0, nil) }

func toCEL(v Value) ref.Val {
	switch v {
	case False:
		return types.False
	case True:
		return types.True
	case Unknown:
		return unknownVal()
	case Error:
	}
	return types.NewErr("the condition failed")
}

// object is one of our variables as CEL sees it: its type and the native value
// that its fields are read from.
type object struct {
	typ    *types.Type
	native any // *Input or *policylang.Relation
}

// ConvertToNative is refused: objects do not leave an expression.
func (o object) ConvertToNative(t reflect.Type) (any, error) {
	return nil, fmt.Errorf("convert %s to %s: not possible", o.typ, t)
}

// ConvertToType gives the object's type, and nothing else.
func (o object) ConvertToType(t ref.Type) ref.Val {
	if t == types.TypeType {
		return o.typ
	}
	return types.NewErr("type conversion error")
}

// Equal reports whether both are one value.
func (o object) Equal(other ref.Val) ref.Val {
	p, ok := other.(object)
	if !ok {
		return types.False
	}
	return types.Bool(o.native == p.native)
}

// Type returns the object's type.
func (o object) Type() ref.Type { return o.typ }

// Value returns the native value.
func (o object) Value() any { return o.native }

// openList is a list of which not every element is known. The function size is
// unknown of it, and lists are never compared as a whole, see checkWholes.
type openList struct {
	vals []ref.Val // unknown elements included
	open bool      // there may be more
}

// ConvertToNative is refused.
func (l openList) ConvertToNative(t reflect.Type) (any, error) {
	return nil, fmt.Errorf("convert list to %s: not possible", t)
}

// ConvertToType is unknown but for its type.
func (l openList) ConvertToType(t ref.Type) ref.Val {
	if t == types.TypeType {
		return types.ListType
	}
	return unknownVal()
}

// Equal is unknown.
func (l openList) Equal(ref.Val) ref.Val { return unknownVal() }

// Type returns the list type.
func (l openList) Type() ref.Type { return types.ListType }

// Value returns the elements.
func (l openList) Value() any { return l.vals }

// Contains is true if an element surely equals the value, and else unknown if
// one could.
func (l openList) Contains(value ref.Val) ref.Val {
	if types.IsUnknownOrError(value) {
		return value
	}
	unsure := l.open
	for _, v := range l.vals {
		if types.IsUnknown(v) {
			unsure = true
		} else if types.Equal(v, value) == types.True {
			return types.True
		}
	}
	if unsure {
		return unknownVal()
	}
	return types.False
}

// Get is unknown: what is missing may stand before.
func (l openList) Get(ref.Val) ref.Val { return unknownVal() }

// Size is what CEL counts its cost by: no answer that an expression could see.
func (l openList) Size() ref.Val { return types.Int(len(l.vals) + 1) }

// Add is unknown.
func (l openList) Add(ref.Val) ref.Val { return unknownVal() }

// Iterator gives the elements, and an unknown one if there may be more.
func (l openList) Iterator() traits.Iterator {
	vals := l.vals
	if l.open {
		vals = append(vals[:len(vals):len(vals)], unknownVal())
	}
	return &listIterator{vals: vals}
}

type listIterator struct {
	object // never used: an iterator is not a value of the language
	vals   []ref.Val
}

// HasNext reports whether there is another element.
func (it *listIterator) HasNext() ref.Val { return types.Bool(len(it.vals) > 0) }

// Next returns the next element.
func (it *listIterator) Next() ref.Val {
	if len(it.vals) == 0 {
		return nil
	}
	v := it.vals[0]
	it.vals = it.vals[1:]
	return v
}

// toCELList gives a list of strings, as CEL's own list if it is complete.
func toCELList(l list) any {
	vals := make([]ref.Val, len(l.items))
	complete := !l.open
	for i, item := range l.items {
		if l.partial != nil && l.partial(item) {
			vals[i], complete = unknownVal(), false
		} else {
			vals[i] = types.String(item)
		}
	}
	if complete {
		return types.NewRefValList(types.DefaultTypeAdapter, vals)
	}
	return openList{vals: vals, open: l.open}
}

// toCELRelations gives a list of relations, whose fields may be unknown.
func toCELRelations(r relations) any {
	vals := make([]ref.Val, len(r.items))
	for i := range r.items {
		vals[i] = object{typ: types.NewObjectType(relationTypeName), native: &r.items[i]}
	}
	if !r.open {
		return types.NewRefValList(types.DefaultTypeAdapter, vals)
	}
	return openList{vals: vals, open: true}
}

// provider tells CEL our object types. It is also the adapter of native values.
type provider struct {
	*types.Registry
	objects map[string]map[string]*types.FieldType
}

// newProvider returns the provider of all object types.
func newProvider() (*provider, error) {
	registry, err := types.NewRegistry()
	if err != nil {
		return nil, fmt.Errorf("make type registry: %w", err)
	}
	relation := make(map[string]*types.FieldType)
	for _, f := range relationFields() {
		relation[f.name] = relationFieldType(f)
	}
	return &provider{Registry: registry, objects: map[string]map[string]*types.FieldType{
		identityTypeName:  fieldTypes(identityFields(), func(in *Input) bool { return in.Subject != nil }),
		sessionTypeName:   fieldTypes(sessionFields(), func(in *Input) bool { return in.Session != nil }),
		statementTypeName: fieldTypes(statementFields(), func(in *Input) bool { return in.Facts != nil }),
		relationTypeName:  relation,
	}}, nil
}

func always(any) bool { return true }

func fieldTypes(fields []field, present func(*Input) bool) map[string]*types.FieldType {
	out := make(map[string]*types.FieldType, len(fields))
	for _, f := range fields {
		out[f.name] = &types.FieldType{Type: f.celType(), IsSet: always, GetFrom: func(obj any) (any, error) {
			in, ok := obj.(*Input)
			if !ok || !present(in) {
				return unknownVal(), nil
			}
			return f.celValue(in), nil
		}}
	}
	return out
}

func relationFieldType(f relationField) *types.FieldType {
	return &types.FieldType{Type: types.StringType, IsSet: always, GetFrom: func(obj any) (any, error) {
		r, ok := obj.(*policylang.Relation)
		if !ok || f.get(r) == "" {
			return unknownVal(), nil
		}
		return types.String(f.get(r)), nil
	}}
}

func (f field) celType() *types.Type {
	switch {
	case f.text != nil:
		return types.StringType
	case f.flag != nil:
		return types.BoolType
	case f.number != nil:
		return types.IntType
	case f.moment != nil:
		return types.TimestampType
	case f.list != nil:
		return types.NewListType(types.StringType)
	case f.claims != nil:
		return types.NewMapType(types.StringType, types.DynType)
	}
	return types.NewListType(types.NewObjectType(relationTypeName))
}

func (f field) celValue(in *Input) any {
	switch {
	case f.text != nil:
		if s, known := f.text(in); known {
			return types.String(s)
		}
		return unknownVal()
	case f.flag != nil:
		return toCEL(f.flag(in))
	case f.number != nil:
		return types.Int(f.number(in))
	case f.moment != nil:
		return timestamp(f.moment(in))
	case f.list != nil:
		return toCELList(f.list(in))
	case f.claims != nil:
		return f.claims(in)
	}
	return toCELRelations(f.related(in))
}

// timestamp adapts a moment; CEL's timestamps are in UTC.
func timestamp(t time.Time) ref.Val { return types.Timestamp{Time: t.UTC()} }

// FindStructType finds our object types beside the standard ones.
func (p *provider) FindStructType(name string) (*types.Type, bool) {
	if _, ok := p.objects[name]; ok {
		return types.NewTypeTypeWithParam(types.NewObjectType(name)), true
	}
	return p.Registry.FindStructType(name)
}

// FindStructFieldNames lists an object type's fields.
func (p *provider) FindStructFieldNames(name string) ([]string, bool) {
	fields, ok := p.objects[name]
	if !ok {
		return p.Registry.FindStructFieldNames(name)
	}
	names := make([]string, 0, len(fields))
	for n := range fields {
		names = append(names, n)
	}
	return names, true
}

// FindStructFieldType finds a field of our object types beside the standard
// ones.
func (p *provider) FindStructFieldType(name, fieldName string) (*types.FieldType, bool) {
	fields, ok := p.objects[name]
	if !ok {
		return p.Registry.FindStructFieldType(name, fieldName)
	}
	f, ok := fields[fieldName]
	return f, ok
}

// NewValue refuses to construct our objects.
func (p *provider) NewValue(name string, fields map[string]ref.Val) ref.Val {
	if _, ok := p.objects[name]; ok {
		return types.NewErr("objects of type %s cannot be made", name)
	}
	return p.Registry.NewValue(name, fields)
}

// NativeToValue adapts claims as package json decodes them.
func (p *provider) NativeToValue(value any) ref.Val {
	switch v := value.(type) {
	case ref.Val:
		return v
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return types.Int(n)
		}
		if x, err := v.Float64(); err == nil {
			return types.Double(x)
		}
		return types.NewErr("invalid number")
	case []any:
		return types.NewDynamicList(p, v)
	case map[string]any:
		return types.NewStringInterfaceMap(p, v)
	case time.Time:
		return timestamp(v)
	}
	return p.Registry.NativeToValue(value)
}
