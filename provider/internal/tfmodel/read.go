package tfmodel

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"strings"

	"github.com/hashicorp/terraform-plugin-framework/attr"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/posternhq/postern/policylang"
)

// Attribute is one attribute of a Terraform resource, as [Read] needs it.
type Attribute struct {
	Type attr.Type
	// Default says that the schema fills in the attribute, so that its default
	// is written out in state. Any other attribute is null when it is at its
	// default.
	Default bool
}

// Read returns the attributes of the object, each in the words of prior if
// those mean the same. Attributes that the kind does not have are left out of
// the result, name included. prior is nil when there is none, as on import.
func Read(object policylang.Object, schema map[string]Attribute, prior map[string]attr.Value) (map[string]attr.Value, error) {
	actual, err := definition(object)
	if err != nil {
		return nil, err
	}
	needed, err := minimal(object)
	if err != nil {
		return nil, err
	}
	before, err := priorDefinition(object.ObjectKind(), schema, prior)
	if err != nil {
		return nil, err
	}
	has := membersOf(object)
	out := make(map[string]attr.Value, len(schema))
	for name, attribute := range schema {
		if !has[memberName(name)] {
			continue
		}
		member := actual[memberName(name)] // nil if it is left out at its default
		if said, ok := prior[name]; ok && before != nil && reflect.DeepEqual(before[memberName(name)], member) {
			out[name] = said
			continue
		}
		if !attribute.Default {
			member = needed[memberName(name)]
		}
		if out[name], err = encodeValue(attribute.Type, member); err != nil {
			return nil, fmt.Errorf("%s %q, attribute %q: %w", object.ObjectKind(), object.ObjectName(), name, err)
		}
	}
	return out, nil
}

// membersOf are the members that an object's definition can have.
func membersOf(object policylang.Object) map[string]bool {
	t := reflect.TypeOf(object).Elem()
	members := make(map[string]bool, t.NumField())
	for i := range t.NumField() {
		if name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ","); name != "-" {
			members[name] = true
		}
	}
	return members
}

// priorDefinition is what the prior state means, or nil if it says nothing.
func priorDefinition(kind policylang.Kind, schema map[string]Attribute, prior map[string]attr.Value) (map[string]any, error) {
	members := make(map[string]attr.Value, len(prior))
	for name := range schema {
		if value, ok := prior[name]; ok && !value.IsNull() {
			members[name] = value
		}
	}
	if len(members) == 0 {
		return nil, nil
	}
	d, err := Decode(kind, members)
	if err != nil {
		return nil, fmt.Errorf("read the prior state: %w", err)
	}
	return definition(d.Object)
}

// definition is the canonical encoding of an object, decoded.
func definition(object policylang.Object) (map[string]any, error) {
	data, err := policylang.Definition(object)
	if err != nil {
		return nil, err
	}
	return decodeJSON(data)
}

func decodeJSON(data []byte) (map[string]any, error) {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	var members map[string]any
	if err := dec.Decode(&members); err != nil {
		return nil, fmt.Errorf("decode definition: %w", err)
	}
	return members, nil
}

// minimal is the definition without the members that are at their default: a
// member is, if the object is the same without it.
func minimal(object policylang.Object) (map[string]any, error) {
	want, err := policylang.Definition(object)
	if err != nil {
		return nil, err
	}
	root, err := decodeJSON(want)
	if err != nil {
		return nil, err
	}
	same := func() (bool, error) {
		o, err := parse(object.ObjectKind(), object.ObjectName(), root)
		if err != nil {
			return false, err
		}
		got, err := policylang.Definition(o)
		return bytes.Equal(got, want), err
	}
	return root, prune(root, same)
}

// prune removes from members, and from the objects in it, what same does not
// miss.
func prune(members map[string]any, same func() (bool, error)) error {
	for _, name := range sortedKeys(maps.Clone(members)) {
		member := members[name]
		delete(members, name)
		ok, err := same()
		if err != nil {
			return err
		}
		if ok {
			continue
		}
		members[name] = member
		if inner, isObject := member.(map[string]any); isObject {
			if err := prune(inner, same); err != nil {
				return err
			}
		}
	}
	return nil
}

// encodeValue gives a member the wanted type; nil is null.
func encodeValue(want attr.Type, member any) (attr.Value, error) {
	switch want := want.(type) {
	case types.ObjectType:
		return encodeObject(want, member)
	case types.MapType:
		return encodeKeyed(want, member)
	case types.SetType:
		values, err := encodeElements(want.ElemType, member)
		if err != nil || values == nil {
			return types.SetNull(want.ElemType), err
		}
		return result(types.SetValue(want.ElemType, values))
	case types.ListType:
		values, err := encodeElements(want.ElemType, member)
		if err != nil || values == nil {
			return types.ListNull(want.ElemType), err
		}
		return result(types.ListValue(want.ElemType, values))
	}
	switch v := member.(type) {
	case nil:
		return encodeNull(want)
	case string:
		return types.StringValue(v), checkType(want, types.StringType)
	case bool:
		return types.BoolValue(v), checkType(want, types.BoolType)
	case json.Number:
		n, err := v.Int64()
		if err != nil {
			return nil, fmt.Errorf("%s is not a whole number", v)
		}
		return types.Int64Value(n), checkType(want, types.Int64Type)
	}
	return nil, fmt.Errorf("a %T cannot be a %s", member, want)
}

func checkType(want, have attr.Type) error {
	if !want.Equal(have) {
		return fmt.Errorf("a %s cannot be a %s", have, want)
	}
	return nil
}

func encodeNull(want attr.Type) (attr.Value, error) {
	switch {
	case want.Equal(types.StringType):
		return types.StringNull(), nil
	case want.Equal(types.BoolType):
		return types.BoolNull(), nil
	case want.Equal(types.Int64Type):
		return types.Int64Null(), nil
	}
	return nil, fmt.Errorf("a %s has no place in a policy", want)
}

func encodeObject(want types.ObjectType, member any) (attr.Value, error) {
	if member == nil {
		return types.ObjectNull(want.AttrTypes), nil
	}
	members, ok := member.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("a %T cannot be a %s", member, want)
	}
	values := make(map[string]attr.Value, len(want.AttrTypes))
	for name, t := range want.AttrTypes {
		v, err := encodeValue(t, members[name])
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		values[name] = v
	}
	return result(types.ObjectValue(want.AttrTypes, values))
}

// encodeKeyed turns a list of objects with a name into a map keyed by name.
func encodeKeyed(want types.MapType, member any) (attr.Value, error) {
	if member == nil {
		return types.MapNull(want.ElemType), nil
	}
	list, ok := member.([]any)
	if !ok {
		return nil, fmt.Errorf("a %T cannot be a %s", member, want)
	}
	values := make(map[string]attr.Value, len(list))
	for _, element := range list {
		members, _ := element.(map[string]any)
		name, ok := members["name"].(string)
		if !ok {
			return nil, fmt.Errorf("a %T without a name cannot be keyed by it", element)
		}
		v, err := encodeValue(want.ElemType, element)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		values[name] = v
	}
	return result(types.MapValue(want.ElemType, values))
}

// encodeElements gives the elements of a member the wanted type; nil is nil.
func encodeElements(want attr.Type, member any) ([]attr.Value, error) {
	if member == nil {
		return nil, nil
	}
	list, ok := member.([]any)
	if !ok {
		return nil, fmt.Errorf("a %T cannot be elements of type %s", member, want)
	}
	values := make([]attr.Value, len(list))
	for i, element := range list {
		v, err := encodeValue(want, element)
		if err != nil {
			return nil, err
		}
		values[i] = v
	}
	return values, nil
}
