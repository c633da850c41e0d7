package statement

import (
	"slices"
	"strings"

	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/policylang/internal/ast"
)

// expr reads an expression; nil is none.
func (c *collector) expr(n *ast.Node) {
	if m := ast.Unwrap(n); m != nil {
		c.node(m)
	}
}

// exprs reads a list of expressions.
func (c *collector) exprs(list []*ast.Node) {
	for _, n := range list {
		c.expr(n)
	}
}

// node reads one node of an expression. What is not listed here has no place
// in an expression, or is newer than this code: a mystery.
func (c *collector) node(m any) {
	switch m := m.(type) {
	case *ast.ColumnRef:
		c.columnRef(m)
	case *ast.ParamRef:
		c.parameters = max(c.parameters, int(m.GetNumber()))
	case *ast.FuncCall:
		c.funcCall(m)
	case *ast.A_Expr:
		c.operation(m)
	case *ast.SubLink:
		c.operator(m.GetOperName())
		c.expr(m.GetTestexpr())
		c.subquery(m.GetSubselect())
	case *ast.SortBy:
		c.operator(m.GetUseOp())
		c.expr(m.GetNode())
	case *ast.TypeCast:
		c.typeCast(m)
	case *ast.XmlSerialize:
		c.expr(m.GetExpr())
		c.typeName(m.GetTypeName())
	case *ast.JsonOutput:
		c.typeName(m.GetTypeName())
	case *ast.JsonArrayQueryConstructor:
		c.subquery(m.GetQuery())
		if m.GetOutput() != nil {
			c.node(m.GetOutput())
		}
	case *ast.IndexElem: // of ON CONFLICT, or of an index
		if m.GetName() != "" {
			c.bareColumn(m.GetName())
		}
		ast.Children(m, c.node)
	case *ast.CollateClause: // a collation calls no user's code
		c.expr(m.GetArg())
	case *ast.A_Const, *ast.A_Star, *ast.String, *ast.Integer, *ast.Float, *ast.Boolean, *ast.BitString,
		*ast.SQLValueFunction, *ast.SetToDefault, *ast.CurrentOfExpr, *ast.JsonFormat, *ast.JsonReturning:
	case *ast.JsonArrayConstructor:
		c.newSyntax("json_array")
		ast.Children(m, c.node)
	case *ast.JsonArrayAgg:
		c.newSyntax("json_arrayagg")
		ast.Children(m, c.node)
	case *ast.JsonObjectConstructor:
		c.newSyntax("json_object")
		ast.Children(m, c.node)
	case *ast.A_ArrayExpr, *ast.A_Indices, *ast.A_Indirection, *ast.BoolExpr, *ast.BooleanTest, *ast.CaseExpr, *ast.CaseWhen,
		*ast.CoalesceExpr, *ast.GroupingFunc, *ast.GroupingSet, *ast.List, *ast.MinMaxExpr, *ast.MultiAssignRef, *ast.NamedArgExpr,
		*ast.NullTest, *ast.ResTarget, *ast.RowExpr, *ast.WindowDef, *ast.XmlExpr,
		*ast.JsonAggConstructor, *ast.JsonIsPredicate, *ast.JsonKeyValue, *ast.JsonObjectAgg, *ast.JsonValueExpr:
		ast.Children(m, c.node)
	default:
		c.mystery()
	}
}

// newSyntax says that a server older than PostgreSQL 16 takes a construct for a
// call of a user's function.
func (c *collector) newSyntax(name string) { c.unknownName("syntax", "", name) }

func (c *collector) operation(e *ast.A_Expr) {
	// BETWEEN is named for itself; its operators are >= and <=.
	if !among(e.GetKind(), ast.A_Expr_Kind_AEXPR_BETWEEN, ast.A_Expr_Kind_AEXPR_NOT_BETWEEN, ast.A_Expr_Kind_AEXPR_BETWEEN_SYM, ast.A_Expr_Kind_AEXPR_NOT_BETWEEN_SYM) {
		c.operator(e.GetName())
	}
	c.expr(e.GetLexpr())
	c.expr(e.GetRexpr())
}

// operator reads the name of an operator. One that PostgreSQL does not bring
// along calls a function that the text does not name.
func (c *collector) operator(list []*ast.Node) {
	if len(list) == 0 {
		return
	}
	schema, name := qualifiedName(list)
	if _, builtin := slices.BinarySearch(builtinOperators[:], name); !builtin || schema != "" && schema != "pg_catalog" {
		c.unknown = append(c.unknown, "operator "+schemaDot(schema)+name)
	}
}

func schemaDot(schema string) string {
	if schema == "" {
		return ""
	}
	return part(schema) + "."
}

func (c *collector) typeCast(t *ast.TypeCast) {
	c.expr(t.GetArg())
	c.typeName(t.GetTypeName())
	_, name := qualifiedName(t.GetTypeName().GetNames())
	if s, ok := c.stringConstant(t.GetArg()); ok && name == "regclass" {
		c.namedRelation(s, policylang.VerbRead)
	}
}

// typeName reads a type that values are converted to. One that PostgreSQL does
// not bring along may have input functions, casts and constraints of its own.
func (c *collector) typeName(t *ast.TypeName) {
	if t == nil {
		return
	}
	c.exprs(t.GetTypmods())
	schema, name := qualifiedName(t.GetNames())
	base := name
	if len(base) > 1 && base[0] == '_' { // the array of a type
		base = base[1:]
	}
	_, builtin := slices.BinarySearch(builtinTypes[:], name)
	_, array := slices.BinarySearch(builtinTypes[:], base)
	if t.GetPctType() || !builtin && !array || schema != "" && schema != "pg_catalog" {
		c.unknownName("type", schema, name)
	}
}

// definitions reads a list of column definitions behind a function in FROM.
func (c *collector) definitions(list []*ast.Node) {
	for _, n := range list {
		d, ok := ast.Unwrap(n).(*ast.ColumnDef)
		if !ok {
			c.mystery()
			continue
		}
		c.typeName(d.GetTypeName())
	}
}

// tableFunc reads XMLTABLE.
func (c *collector) tableFunc(t *ast.RangeTableFunc) {
	c.expr(t.GetDocexpr())
	c.expr(t.GetRowexpr())
	c.exprs(t.GetNamespaces())
	for _, n := range t.GetColumns() {
		col, ok := ast.Unwrap(n).(*ast.RangeTableFuncCol)
		if !ok {
			c.mystery()
			continue
		}
		c.typeName(col.GetTypeName())
		c.expr(col.GetColexpr())
		c.expr(col.GetColdefexpr())
	}
}

// tableSample reads a sampling method.
func (c *collector) tableSample(method []*ast.Node) {
	schema, name := qualifiedName(method)
	if name != "bernoulli" && name != "system" || schema != "" && schema != "pg_catalog" {
		c.unknownName("function", schema, name)
	}
}

// qualifiedName returns the last two parts of a dotted name.
func qualifiedName(list []*ast.Node) (schema, name string) {
	for _, n := range list {
		if s, ok := ast.Unwrap(n).(*ast.String); ok {
			schema, name = name, s.GetSval()
		}
	}
	return schema, name
}

// stringList returns the strings of a list.
func stringList(list []*ast.Node) []string {
	if len(list) == 0 {
		return nil
	}
	out := make([]string, 0, len(list))
	for _, n := range list {
		if s, ok := ast.Unwrap(n).(*ast.String); ok {
			out = append(out, s.GetSval())
		}
	}
	return out
}

// stringConstant returns the text of a constant, looking through casts, and
// says that the facts depend on it.
func (c *collector) stringConstant(n *ast.Node) (string, bool) {
	switch m := ast.Unwrap(n).(type) {
	case *ast.TypeCast:
		return c.stringConstant(m.GetArg())
	case *ast.NamedArgExpr:
		return c.stringConstant(m.GetArg())
	case *ast.A_Const:
		if s := m.GetSval(); s != nil {
			c.literal = true
			return s.GetSval(), true
		}
		if m.GetIval() != nil || m.GetFval() != nil {
			c.literal = true
		}
	}
	return "", false
}

// namedRelation adds a relation that a constant names, as regclass reads it.
func (c *collector) namedRelation(text string, verb policylang.Verb) {
	parts, ok := splitName(text)
	switch {
	case !ok || len(parts) == 0 || len(parts) > 3: // an OID, or nothing that PostgreSQL would take
		c.relation("", "", verb)
	case len(parts) == 1:
		c.relation("", parts[0], verb)
	default:
		c.relation(parts[len(parts)-2], parts[len(parts)-1], verb)
	}
}

// splitName reads a dotted name as PostgreSQL does in a constant.
func splitName(text string) (parts []string, ok bool) {
	l := lexer{text: text}
	for {
		tok := l.next()
		name, ok := identifier(text, tok)
		if !ok {
			return nil, false
		}
		parts = append(parts, name)
		switch tok = l.next(); {
		case tok.kind == tokenEnd:
			return parts, true
		case tok.kind != tokenPunct || text[tok.start] != '.':
			return nil, false
		}
	}
}

// identifier returns the name that a token stands for: folded, unescaped and
// cut as PostgreSQL does.
func identifier(text string, tok token) (string, bool) {
	raw := text[tok.start:tok.end]
	if tok.kind == tokenWord {
		return cutName(foldWord(raw)), true
	}
	if tok.kind != tokenQuoted {
		return "", false
	}
	name := strings.ReplaceAll(raw[1:len(raw)-1], `""`, `"`)
	return cutName(name), true
}

// cutName cuts a name to PostgreSQL's length, at a character's start.
func cutName(name string) string {
	if len(name) < nameDataLen {
		return name
	}
	n := nameDataLen - 1
	for n > 0 && name[n]&0xC0 == 0x80 {
		n--
	}
	return name[:n]
}
