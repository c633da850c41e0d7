package lineage

import (
	"slices"
	"strings"

	"github.com/posternhq/postern/policylang/internal/ast"
	"github.com/posternhq/postern/policylang/pgcatalog"
)

// cast follows a cast. Only one that leaves the value as it is keeps it direct.
func (a *analyzer) cast(n *ast.TypeCast, s *scope) value {
	v := a.expr(n.Arg, s)
	t := a.typeNamed(n.TypeName)
	if t == nil {
		a.unsupported(n, "this cast")
		return v.computed(0)
	}
	if !a.typeTrusted(t, 0) {
		a.opaque(n.Location, "type "+t.Name)
		return value{label: everything(), typ: t.OID, risky: true}
	}
	if _, ok := ast.Unwrap(n.Arg).(*ast.A_Const); ok {
		return value{typ: t.OID, risky: t.Kind == pgcatalog.TypeDomain, traits: v.traits} // read while parsing
	}
	if keepsValue(v.typ, t.OID, n.TypeName) {
		v.typ = t.OID
		return v
	}
	out := v.computed(t.OID)
	if v.fields != nil && t.Kind == pgcatalog.TypeComposite {
		out.fields = a.castFields(v, t)
	}
	if !totalCast(a.cat.BaseType(v.typ), t.OID) {
		out = a.fallible(out, "a cast to "+t.Name, n.Location)
	}
	return out
}

// castFields gives the columns of a row that is cast to a composite type that
// type's names.
func (a *analyzer) castFields(v value, t *pgcatalog.Type) []column {
	r := a.cat.Relation(t.Relation)
	if r == nil || len(r.Columns) != len(v.fields) {
		return nil
	}
	out := slices.Clone(v.fields)
	for i := range out {
		out[i].name = r.Columns[i].Name
		if out[i].typ != r.Columns[i].Type {
			out[i].typ, out[i].label = r.Columns[i].Type, out[i].label.derive()
		}
	}
	return out
}

// typed checks a type that values are turned into, and returns a value of it.
func (a *analyzer) typed(n *ast.TypeName) value {
	t := a.typeNamed(n)
	if t == nil {
		return value{}
	}
	if !a.typeTrusted(t, 0) {
		a.opaque(n.Location, "type "+t.Name)
		return value{label: everything(), typ: t.OID}
	}
	return plain(t.OID)
}

// typeNamed resolves a type's name.
func (a *analyzer) typeNamed(n *ast.TypeName) *pgcatalog.Type {
	if n == nil {
		return nil
	}
	names := stringList(n.Names)
	var t *pgcatalog.Type
	switch {
	case n.PctType || n.Setof:
		a.unsupported(n, "this type")
		return nil
	case len(names) == 1 && a.env.SearchPath == nil:
		a.unknownPath(n.Location, names[0])
		return nil
	case len(names) == 1:
		t = a.cat.FindType(a.env.SearchPath, names[0])
	case len(names) == 2:
		t = a.cat.TypeNamed(a.schemaName(names[0]), names[1])
	case len(names) == 3 && names[0] == a.env.Database:
		t = a.cat.TypeNamed(a.schemaName(names[1]), names[2])
	}
	if t != nil && len(n.ArrayBounds) > 0 {
		t = a.cat.Type(t.Array)
	}
	if t == nil && len(names) > 0 {
		a.undefined(undefinedObject, n.Location, "", "type %q does not exist", strings.Join(names, "."))
	}
	return t
}

// typeTrusted reports whether making, reading and converting values of a type
// runs only code that is trusted.
func (a *analyzer) typeTrusted(t *pgcatalog.Type, depth int) bool {
	if depth > maxTypeDepth {
		return false
	}
	for c := range a.cat.CastsOf(t.OID) {
		if c.Function < pgcatalog.FirstUserOID {
			continue
		}
		if f := a.cat.Function(c.Function); f == nil || functionTrust(f) != pureCode {
			return false
		}
	}
	if t.OID < pgcatalog.FirstUserOID {
		return true
	}
	switch t.Kind {
	case pgcatalog.TypeDomain:
		return a.domainTrusted(t, depth)
	case pgcatalog.TypeEnum:
		return true
	case pgcatalog.TypeRange, pgcatalog.TypeMultirange:
		return t.Extension != "" || a.rangeTrusted(t)
	case pgcatalog.TypeComposite:
		return a.rowTypeTrusted(t, depth)
	case pgcatalog.TypeBase, pgcatalog.TypePseudo:
	}
	if t.Element != 0 && a.isArray(t) {
		element := a.cat.Type(t.Element)
		return element != nil && a.typeTrusted(element, depth+1)
	}
	_, known := knownExtensions[t.Extension]
	return known
}

// ReadsHarmlessly reports whether reading a value of a type runs no code that
// cannot be read.
func (p *Protection) ReadsHarmlessly(oid uint32) bool {
	t := p.cat.Type(oid)
	return t != nil && newAnalyzer(Environment{}, p.cat, p).typeTrusted(t, 0)
}

// maxTypeDepth bounds the nesting of types in types.
const maxTypeDepth = 32

func (a *analyzer) isArray(t *pgcatalog.Type) bool {
	element := a.cat.Type(t.Element)
	return element != nil && element.Array == t.OID
}

// rangeTrusted trusts ranges whose input is the server's own, as it is for
// every range made by CREATE TYPE; their subtype functions were named by
// whoever made them and run only for ranges over user-defined types.
func (a *analyzer) rangeTrusted(t *pgcatalog.Type) bool {
	return t.Input < pgcatalog.FirstUserOID
}

func (a *analyzer) domainTrusted(t *pgcatalog.Type, depth int) bool {
	base := a.cat.Type(t.Base)
	if base == nil || !a.typeTrusted(base, depth+1) {
		return false
	}
	for _, check := range t.Checks {
		b := a.prot.storedAnalyzer(nil)
		b.storedExpression(check, &scope{items: []*item{{columns: []column{{name: "value", typ: t.Base}}, bare: true, lateralOK: true}}})
		if b.refusal != nil || b.tainted {
			return false
		}
	}
	return true
}

func (a *analyzer) rowTypeTrusted(t *pgcatalog.Type, depth int) bool {
	r := a.cat.Relation(t.Relation)
	if r == nil {
		return false
	}
	for i := range r.Columns {
		field := a.cat.Type(r.Columns[i].Type)
		if field == nil || !a.typeTrusted(field, depth+1) {
			return false
		}
	}
	return true
}

// keepsValue reports whether a cast is none at all: the type stays, or varchar
// becomes text. A length would cut the value, and its mask would then show
// other characters.
func keepsValue(from, to uint32, n *ast.TypeName) bool {
	if from == 0 || len(n.Typmods) > 0 {
		return false
	}
	if from == to {
		return true
	}
	return (from == typeText || from == typeVarchar) && (to == typeText || to == typeVarchar)
}

// totalCast reports whether a cast cannot fail, whatever the value.
func totalCast(from, to uint32) bool {
	switch {
	case from == to, from == typeUnknown, isText(to):
		return true
	}
	for _, wider := range wideningCasts[from] {
		if wider == to {
			return true
		}
	}
	return false
}

// wideningCasts are the casts between numbers and dates that keep every value.
var wideningCasts = map[uint32][]uint32{
	typeBool:      {typeInt4},
	typeInt2:      {typeInt4, typeInt8, typeNumeric, typeFloat4, typeFloat8},
	typeInt4:      {typeInt8, typeNumeric, typeFloat4, typeFloat8},
	typeInt8:      {typeNumeric, typeFloat4, typeFloat8},
	typeFloat4:    {typeFloat8},
	typeTimestamp: {typeDate},
}
