package lineage

import (
	"github.com/posternhq/postern/policylang/internal/ast"
)

// expr follows an expression. A nil node is bottom.
func (a *analyzer) expr(n *ast.Node, s *scope) value {
	inner := ast.Unwrap(n)
	if inner == nil {
		return value{}
	}
	if !a.enter() {
		return value{}
	}
	defer a.leave()
	switch n := inner.(type) {
	case *ast.ColumnRef:
		return a.columnRef(n, s)
	case *ast.A_Const:
		return constant(n)
	case *ast.ParamRef:
		return param(n, s)
	case *ast.SQLValueFunction:
		return plain(sqlValueType(int32(n.Op)))
	case *ast.SetToDefault:
		a.refuse(CodeUnsupported, n.Location, "", "DEFAULT is not allowed in this context")
		return value{}
	case *ast.A_Expr:
		return a.operation(n, s)
	case *ast.BoolExpr:
		return a.shortCircuit(n.Args, s, typeBool, n.Location)
	case *ast.NullTest:
		return a.expr(n.Arg, s).computed(typeBool)
	case *ast.BooleanTest:
		return a.expr(n.Arg, s).computed(typeBool)
	case *ast.CaseExpr:
		return a.caseExpr(n, s)
	case *ast.CoalesceExpr:
		return a.shortCircuit(n.Args, s, 0, n.Location)
	case *ast.MinMaxExpr:
		return a.minMax(n, s)
	case *ast.A_ArrayExpr:
		return a.array(n, s)
	case *ast.RowExpr:
		return a.row(n, s)
	case *ast.CollateClause:
		return a.collate(n, s)
	case *ast.A_Indirection:
		return a.indirection(a.expr(n.Arg, s), n.Indirection, s, locate(n.Arg))
	case *ast.FuncCall:
		return a.funcCall(n, s).value
	case *ast.TypeCast:
		return a.cast(n, s)
	case *ast.SubLink:
		return a.subLink(n, s)
	case *ast.NamedArgExpr:
		return a.expr(n.Arg, s)
	case *ast.GroupingFunc:
		a.control(a.all(n.Args, s).label, useGroup, "GROUPING", n.Location)
		return plain(typeInt4)
	case *ast.CurrentOfExpr:
		return plain(typeBool)
	case *ast.MultiAssignRef:
		return a.multiAssign(n, s)
	case *ast.List:
		return a.all(n.Items, s)
	case *ast.XmlExpr:
		return a.xmlExpr(n, s)
	case *ast.XmlSerialize:
		return a.fallible(a.expr(n.Expr, s).with(a.typed(n.TypeName)), "XMLSERIALIZE", n.Location)
	case *ast.JsonObjectConstructor, *ast.JsonArrayConstructor, *ast.JsonArrayQueryConstructor,
		*ast.JsonObjectAgg, *ast.JsonArrayAgg, *ast.JsonIsPredicate, *ast.JsonValueExpr,
		*ast.JsonKeyValue:
		return a.json(n, s)
	default:
		a.unsupported(n, "this expression")
		return value{}
	}
}

// all follows expressions whose values make up one.
func (a *analyzer) all(list []*ast.Node, s *scope) value {
	var v value
	for _, n := range list {
		v = v.with(a.expr(n, s))
	}
	return v
}

// array follows ARRAY[…]. One of arrays fails if they are of different sizes.
func (a *analyzer) array(n *ast.A_ArrayExpr, s *scope) value {
	var v value
	nested := false
	types := resultType{}
	for _, element := range n.Elements {
		e := a.expr(element, s)
		_, inner := ast.Unwrap(element).(*ast.A_ArrayExpr)
		nested = nested || (!inner && a.mayBeArray(e))
		types.add(e.typ)
		v = v.with(e)
	}
	v.typ = a.arrayOf(types.common())
	if nested {
		v = a.fallible(v, "an array of arrays", n.Location)
	}
	return v
}

// constant is a literal; its type is what PostgreSQL first thinks it is.
func constant(n *ast.A_Const) value {
	switch {
	case n.Isnull, n.GetSval() != nil:
		return literalOf(typeUnknown, len(n.GetSval().GetSval()))
	case n.GetBoolval() != nil:
		return literalOf(typeBool, 1)
	case n.GetIval() != nil:
		return literalOf(typeInt4, 1)
	}
	return literalOf(0, rowSize)
}

func literalOf(typ uint32, size int) value {
	return value{typ: typ, traits: traits{fixed: true, size: uint64(size)}}
}

// param is a parameter: what the client sends, or an argument of the SQL
// function whose body is followed.
func param(n *ast.ParamRef, s *scope) value {
	for ; s != nil; s = s.parent {
		if s.params != nil {
			if i := int(n.Number) - 1; i >= 0 && i < len(s.params) {
				return s.params[i].value()
			}
			return value{}
		}
	}
	return literalOf(0, columnSize)
}

// columnRef follows a name: a column, a whole row, or a function in attribute
// notation.
func (a *analyzer) columnRef(n *ast.ColumnRef, s *scope) value {
	if len(n.Fields) == 0 {
		a.unsupported(n, "this column reference")
		return value{}
	}
	if isStar(n.Fields[len(n.Fields)-1]) {
		if i := a.qualifier(stringList(n.Fields[:len(n.Fields)-1]), s, n.Location); i != nil {
			return a.wholeRow(i)
		}
		return value{}
	}
	names := stringList(n.Fields)
	if len(names) == 1 {
		return a.bareName(names[0], s, n.Location)
	}
	if v, ok := a.qualifiedArgument(names, s, n.Location); ok {
		return v
	}
	i := a.qualifier(names[:len(names)-1], s, n.Location)
	if i == nil {
		return value{}
	}
	name := names[len(names)-1]
	if v, ok := a.field(i, name, n.Location); ok {
		return v
	}
	return a.attribute(name, a.wholeRow(i), n.Location)
}

func (a *analyzer) bareName(name string, s *scope, location int32) value {
	if v, i := a.findColumn(s, name, location); i != nil || a.refusal != nil {
		return v
	}
	if i := a.findItem(s, name, location); i != nil {
		return a.wholeRow(i)
	}
	if v, ok := argumentNamed(s, name); ok {
		return v
	}
	if a.refusal == nil {
		a.undefined(undefinedColumn, location, "", "column %q does not exist", name)
	}
	return value{}
}

// argumentNamed finds an argument of the SQL function whose body is followed.
func argumentNamed(s *scope, name string) (value, bool) {
	for ; s != nil; s = s.parent {
		for i := range s.params {
			if s.params[i].name == name && name != "" {
				return s.params[i].value(), true
			}
		}
	}
	return value{}, false
}

// qualifiedArgument follows function.argument and argument.field in the body of
// an SQL function. Items of FROM come first.
func (a *analyzer) qualifiedArgument(names []string, s *scope, location int32) (value, bool) {
	if len(names) != 2 || len(a.body.calls) == 0 || a.findQuietly(s, names[0]) != nil {
		return value{}, false
	}
	if names[0] == a.body.name {
		if v, ok := argumentNamed(s, names[1]); ok {
			return v, true
		}
	}
	v, ok := argumentNamed(s, names[0])
	if !ok {
		return value{}, false
	}
	return a.selectField(v, names[1], location), true
}

// findQuietly is findItem without refusing anything.
func (a *analyzer) findQuietly(s *scope, name string) *item {
	for ; s != nil; s = s.parent {
		for _, i := range s.items {
			if i.named && !i.hidden(s) && i.alias == name {
				return i
			}
		}
	}
	return nil
}

// qualifier finds the item that the names before a column mean.
func (a *analyzer) qualifier(names []string, s *scope, location int32) *item {
	var i *item
	switch len(names) {
	case 1:
		i = a.findItem(s, names[0], location)
	case 3:
		if names[0] != a.env.Database {
			a.refuse(CodeUnknown, location, "", "references to other databases are not possible: %q", names[0])
			return nil
		}
		names = names[1:]
		fallthrough
	case 2:
		schema := names[0]
		if schema == "pg_temp" {
			schema, _ = a.temporarySchema()
		}
		if r := a.cat.RelationNamed(schema, names[1]); r != nil {
			i = a.findTable(s, r, location)
		}
	}
	if i == nil && a.refusal == nil {
		a.undefined(undefinedTable, location, "", "missing FROM-clause entry for table %q", names[len(names)-1])
	}
	return i
}

// indirection follows subscripts and field selections.
func (a *analyzer) indirection(base value, list []*ast.Node, s *scope, location int32) value {
	v := base
	for _, n := range list {
		switch n := ast.Unwrap(n).(type) {
		case *ast.A_Indices:
			v = a.subscript(v, a.all([]*ast.Node{n.Lidx, n.Uidx}, s), n.IsSlice, location)
		case *ast.String:
			v = a.selectField(v, n.Sval, location)
		case *ast.A_Star: // a whole row, except at the end of a select list's entry
		default:
			a.unsupported(n, "this subscript")
		}
	}
	return v
}

// subscript follows v[index]. The index is not looked at if v is NULL.
func (a *analyzer) subscript(v, index value, slice bool, location int32) value {
	if index.risky {
		a.control(v.label, useFallible, "a subscript", location)
	}
	out := v.with(index)
	if t := a.cat.Type(v.typ); t != nil {
		out.typ = t.Element
		if slice || t.Element == 0 {
			out.typ = v.typ
		}
	}
	return out
}

// selectField follows (v).name: a field of a row, or else the function of that
// name applied to it.
func (a *analyzer) selectField(v value, name string, location int32) value {
	if v.fields != nil {
		for i := range v.fields {
			if v.fields[i].name == name {
				f := v.fields[i].value()
				f.risky = v.risky
				return f
			}
		}
	} else {
		for _, f := range a.fieldsOf(v) {
			if f.name == name {
				out := value{typ: f.typ, label: v.label.derive(), risky: v.risky, traits: f.traits}
				out.traits = v.traits.with(out.traits)
				return out
			}
		}
	}
	return a.attribute(name, v, location)
}

// attribute follows a function in attribute notation: v.name means name(v).
// If there is none, name may be a field of a row whose type is not known.
func (a *analyzer) attribute(name string, v value, location int32) value {
	if len(a.functionsNamed([]string{name}, 1)) > 0 {
		return a.apply([]string{name}, []value{v}, location).value
	}
	if v.fields != nil || (v.typ != 0 && v.typ != typeRecord) {
		a.undefined(undefinedColumn, location, "", "column %q does not exist", name)
	}
	return value{label: v.label.derive(), risky: true, traits: v.traits}
}

// shortCircuit follows expressions of which later ones may not be evaluated,
// depending on earlier ones: AND, OR and COALESCE.
func (a *analyzer) shortCircuit(list []*ast.Node, s *scope, typ uint32, location int32) value {
	var v value
	for i, n := range list {
		e := a.expr(n, s)
		if e.risky {
			a.control(v.label, useFallible, "a condition before something that may fail", location)
		}
		if i == 0 {
			v = e.computed(e.typ)
		} else {
			was := v.typ
			v = v.with(e)
			if was == e.typ {
				v.typ = was
			}
		}
	}
	if typ != 0 {
		v.typ = typ
	}
	v.shaped = v.shaped || !v.label.bottom()
	return v
}

// caseExpr follows CASE: the result depends on the conditions.
func (a *analyzer) caseExpr(n *ast.CaseExpr, s *scope) value {
	conditions := a.expr(n.Arg, s)
	v := value{}
	guarded := func(e value, location int32) {
		if e.risky {
			a.control(conditions.label, useFallible, "a condition before something that may fail", location)
		}
	}
	types := resultType{}
	for _, w := range n.Args {
		when, ok := ast.Unwrap(w).(*ast.CaseWhen)
		if !ok {
			a.unsupported(ast.Unwrap(w), "this CASE")
			return v
		}
		c := a.expr(when.Expr, s)
		guarded(c, when.Location)
		if n.Arg != nil {
			c = c.with(a.operator([]string{"="}, conditions, c, when.Location))
		}
		conditions = conditions.with(c)
		r := a.expr(when.Result, s)
		guarded(r, when.Location)
		types.add(r.typ)
		v = v.with(r)
	}
	r := a.expr(n.Defresult, s)
	guarded(r, n.Location)
	if n.Defresult != nil {
		types.add(r.typ)
	}
	v = v.with(r).with(conditions)
	v.typ = types.common()
	v.shaped = v.shaped || !conditions.label.bottom()
	return v
}

// resultType is the type that several expressions have in common.
type resultType struct {
	typ     uint32
	mixed   bool
	literal bool // one was a literal without a type
}

func (t *resultType) add(typ uint32) {
	switch {
	case typ == typeUnknown && !t.mixed && t.typ == 0:
		t.literal = true
	case typ == typeUnknown:
	case t.typ == 0:
		t.typ, t.mixed = typ, t.mixed || typ == 0
	case t.typ != typ:
		t.mixed = true
	}
}

func (t *resultType) common() uint32 {
	switch {
	case t.mixed:
		return 0
	case t.typ == 0 && t.literal:
		return typeText
	}
	return t.typ
}

func (a *analyzer) minMax(n *ast.MinMaxExpr, s *scope) value {
	var v value
	var types resultType
	args := make([]value, len(n.Args))
	for i, arg := range n.Args {
		args[i] = a.expr(arg, s)
		types.add(args[i].typ)
		v = v.with(args[i])
	}
	v.typ = types.common()
	v.shaped = v.shaped || !v.label.bottom()
	if !a.comparableAll(args...) {
		v = a.fallible(v, "a comparison of these values", n.Location)
	}
	return v
}

// row follows ROW(…), in which stars are expanded.
func (a *analyzer) row(n *ast.RowExpr, s *scope) value {
	out := value{typ: typeRecord, fields: []column{}}
	for _, arg := range n.Args {
		if columns, ok := a.star(arg, s); ok {
			out.fields = append(out.fields, columns...)
			for i := range columns {
				out.traits = out.traits.with(columns[i].traits)
			}
			continue
		}
		v := a.expr(arg, s)
		out.risky = out.risky || v.risky
		out.fields = append(out.fields, v.column(""))
		out.traits = out.traits.with(v.traits)
	}
	for i := range out.fields {
		out.fields[i].name = fieldName(i)
	}
	out.label = labels(out.fields).derive()
	return out
}

// collate follows COLLATE, which leaves the value as it is.
func (a *analyzer) collate(n *ast.CollateClause, s *scope) value {
	v := a.expr(n.Arg, s)
	v.fields = nil
	v.collation = namedCollation(stringList(n.Collname))
	return v
}

// subLink follows a sub-select in an expression.
func (a *analyzer) subLink(n *ast.SubLink, s *scope) value {
	inner := &scope{parent: s}
	if n.SubLinkType == subLinkExists {
		a.query(n.Subselect, inner, nil)
		return value{typ: typeBool, risky: true}
	}
	test := a.expr(n.Testexpr, s)
	risks := a.risks
	columns := a.query(n.Subselect, inner, nil)
	if a.refusal != nil {
		return value{}
	}
	switch n.SubLinkType {
	case subLinkExpr, subLinkArray:
		if len(columns) != 1 {
			a.refuse(CodeUnknown, n.Location, "", "subquery must return only one column")
			return value{}
		}
		v := columns[0].value()
		v.risky = true
		if n.SubLinkType == subLinkArray {
			return a.arrayOfRows(v, n.Location)
		}
		return v
	case subLinkAny, subLinkAll:
		name := stringList(n.OperName)
		if len(name) == 0 {
			name = []string{"="}
		}
		rows := value{label: labels(columns)}
		if len(columns) == 1 {
			rows = columns[0].value()
		}
		if a.risks > risks { // rows after the one that decides are not read
			a.control(join(test.label, rows.label), useFallible, "ANY or ALL of a sub-select", n.Location)
		}
		v := test.with(rows).with(a.operator(name, test, rows, n.Location))
		v.typ, v.risky = typeBool, true
		return v
	}
	a.unsupported(n, "this sub-select")
	return value{}
}

// arrayOfRows follows ARRAY(SELECT …), of whose rows v is one. Rows that are
// arrays fail if they are of different sizes.
func (a *analyzer) arrayOfRows(v value, location int32) value {
	v.size = unbounded
	out := value{label: v.label.derive(), typ: a.arrayOf(v.typ), risky: true, traits: v.traits}
	if a.mayBeArray(v) {
		return a.fallible(out, "an array of arrays", location)
	}
	return out
}

func (a *analyzer) arrayOf(typ uint32) uint32 {
	if t := a.cat.Type(typ); t != nil {
		return t.Array
	}
	return 0
}

// multiAssign follows one column of SET (a, b) = ….
func (a *analyzer) multiAssign(n *ast.MultiAssignRef, s *scope) value {
	i := int(n.Colno) - 1
	switch source := ast.Unwrap(n.Source).(type) {
	case *ast.RowExpr:
		if i >= 0 && i < len(source.Args) {
			return a.expr(source.Args[i], s)
		}
	case *ast.SubLink:
		columns := a.query(source.Subselect, &scope{parent: s}, nil)
		if i >= 0 && i < len(columns) {
			v := columns[i].value()
			v.risky = true
			return v
		}
	}
	if a.refusal == nil {
		a.unsupported(n, "this assignment")
	}
	return value{}
}

// fallible is told that what a value was just computed by may fail.
func (a *analyzer) fallible(v value, what string, location int32) value {
	a.control(v.label, useFallible, what, location)
	a.risks++
	v.risky = true
	return v
}

// unsupported refuses a node that has no rule.
func (a *analyzer) unsupported(n any, what string) {
	a.refuse(CodeUnsupported, locateInner(n), "", "%s is not supported while values are masked for you", what)
}
