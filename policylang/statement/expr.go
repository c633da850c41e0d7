package statement

import (
	"slices"
	"strings"

	"github.com/posternhq/postern/policylang"
)

// expr reads an expression; nil is none.
func (c *collector) expr(n *Node) {
	if m := Unwrap(n); m != nil {
		c.node(m)
	}
}

// exprs reads a list of expressions.
func (c *collector) exprs(list []*Node) {
	for _, n := range list {
		c.expr(n)
	}
}

// node reads one node of an expression. What is not listed here has no place
// in an expression, or is newer than this code: a mystery.
func (c *collector) node(m any) {
	switch m := m.(type) {
	case *ColumnRef:
		c.columnRef(m)
	case *ParamRef:
		c.parameters = max(c.parameters, int(m.GetNumber()))
	case *FuncCall:
		c.funcCall(m)
	case *A_Expr:
		c.operation(m)
	case *SubLink:
		c.operator(m.GetOperName())
		c.expr(m.GetTestexpr())
		c.subquery(m.GetSubselect())
	case *SortBy:
		c.operator(m.GetUseOp())
		c.expr(m.GetNode())
	case *TypeCast:
		c.typeCast(m)
	case *XmlSerialize:
		c.expr(m.GetExpr())
		c.typeName(m.GetTypeName())
	case *JsonOutput:
		c.typeName(m.GetTypeName())
	case *JsonArrayQueryConstructor:
		c.subquery(m.GetQuery())
		if m.GetOutput() != nil {
			c.node(m.GetOutput())
		}
	case *IndexElem: // of ON CONFLICT, or of an index
		if m.GetName() != "" {
			c.bareColumn(m.GetName())
		}
		Children(m, c.node)
	case *CollateClause: // a collation calls no user's code
		c.expr(m.GetArg())
	case *A_Const, *A_Star, *String, *Integer, *Float, *Boolean, *BitString,
		*SQLValueFunction, *SetToDefault, *CurrentOfExpr, *JsonFormat, *JsonReturning:
	case *JsonArrayConstructor:
		c.newSyntax("json_array")
		Children(m, c.node)
	case *JsonArrayAgg:
		c.newSyntax("json_arrayagg")
		Children(m, c.node)
	case *JsonObjectConstructor:
		c.newSyntax("json_object")
		Children(m, c.node)
	case *A_ArrayExpr, *A_Indices, *A_Indirection, *BoolExpr, *BooleanTest, *CaseExpr, *CaseWhen,
		*CoalesceExpr, *GroupingFunc, *GroupingSet, *List, *MinMaxExpr, *MultiAssignRef, *NamedArgExpr,
		*NullTest, *ResTarget, *RowExpr, *WindowDef, *XmlExpr,
		*JsonAggConstructor, *JsonIsPredicate, *JsonKeyValue, *JsonObjectAgg, *JsonValueExpr:
		Children(m, c.node)
	default:
		c.mystery()
	}
}

// newSyntax says that a server older than PostgreSQL 16 takes a construct for a
// call of a user's function.
func (c *collector) newSyntax(name string) { c.unknownName("syntax", "", name) }

func (c *collector) operation(e *A_Expr) {
	// BETWEEN is named for itself; its operators are >= and <=.
	if !among(e.GetKind(), A_Expr_Kind_AEXPR_BETWEEN, A_Expr_Kind_AEXPR_NOT_BETWEEN, A_Expr_Kind_AEXPR_BETWEEN_SYM, A_Expr_Kind_AEXPR_NOT_BETWEEN_SYM) {
		c.operator(e.GetName())
	}
	c.expr(e.GetLexpr())
	c.expr(e.GetRexpr())
}

// operator reads the name of an operator. One that PostgreSQL does not bring
// along calls a function that the text does not name.
func (c *collector) operator(list []*Node) {
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

func (c *collector) typeCast(t *TypeCast) {
	c.expr(t.GetArg())
	c.typeName(t.GetTypeName())
	_, name := qualifiedName(t.GetTypeName().GetNames())
	if s, ok := c.stringConstant(t.GetArg()); ok && name == "regclass" {
		c.namedRelation(s, policylang.VerbRead)
	}
}

// typeName reads a type that values are converted to. One that PostgreSQL does
// not bring along may have input functions, casts and constraints of its own.
func (c *collector) typeName(t *TypeName) {
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
func (c *collector) definitions(list []*Node) {
	for _, n := range list {
		d, ok := Unwrap(n).(*ColumnDef)
		if !ok {
			c.mystery()
			continue
		}
		c.typeName(d.GetTypeName())
	}
}

// tableFunc reads XMLTABLE.
func (c *collector) tableFunc(t *RangeTableFunc) {
	c.expr(t.GetDocexpr())
	c.expr(t.GetRowexpr())
	c.exprs(t.GetNamespaces())
	for _, n := range t.GetColumns() {
		col, ok := Unwrap(n).(*RangeTableFuncCol)
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
func (c *collector) tableSample(method []*Node) {
	schema, name := qualifiedName(method)
	if name != "bernoulli" && name != "system" || schema != "" && schema != "pg_catalog" {
		c.unknownName("function", schema, name)
	}
}

// qualifiedName returns the last two parts of a dotted name.
func qualifiedName(list []*Node) (schema, name string) {
	parts := stringList(list)
	switch len(parts) {
	case 0:
		return "", ""
	case 1:
		return "", parts[0]
	}
	return parts[len(parts)-2], parts[len(parts)-1]
}

// stringList returns the strings of a list.
func stringList(list []*Node) []string {
	var out []string
	for _, n := range list {
		if s, ok := Unwrap(n).(*String); ok {
			out = append(out, s.GetSval())
		}
	}
	return out
}

// stringConstant returns the text of a constant, looking through casts, and
// says that the facts depend on it.
func (c *collector) stringConstant(n *Node) (string, bool) {
	switch m := Unwrap(n).(type) {
	case *TypeCast:
		return c.stringConstant(m.GetArg())
	case *NamedArgExpr:
		return c.stringConstant(m.GetArg())
	case *A_Const:
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
