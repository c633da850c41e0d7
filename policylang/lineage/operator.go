package lineage

import (
	"slices"
	"strings"

	"github.com/posternhq/postern/policylang/internal/ast"
	"github.com/posternhq/postern/policylang/pgcatalog"
)

// operation follows an operator expression and its kin.
func (a *analyzer) operation(n *ast.A_Expr, s *scope) value {
	name := stringList(n.Name)
	if _, ok := ast.Unwrap(n.Lexpr).(*ast.RowExpr); ok {
		if link, ok := ast.Unwrap(n.Rexpr).(*ast.SubLink); ok && link.SubLinkType == subLinkExpr {
			return a.rowComparison(n, link, s)
		}
	}
	l, r := a.expr(n.Lexpr, s), a.list(n.Rexpr, s)
	switch n.Kind {
	case exprIn, exprBetween, exprNotBetween, exprBetweenSym, exprNotBetweenSym:
		if r.risky { // they are chains of OR and AND
			a.control(join(l.label, r.label), useFallible, "a comparison with several values", n.Location)
		}
	}
	switch n.Kind {
	case exprOp:
		if isPattern(name) {
			return a.match(name, l, r, n)
		}
		return a.operator(name, l, r, n.Location)
	case exprOpAny, exprOpAll, exprIn, exprDistinct, exprNotDistinct:
		if n.Kind == exprDistinct || n.Kind == exprNotDistinct {
			name = []string{"="}
		}
		v := a.operator(name, l, r, n.Location)
		v.typ = typeBool
		return v
	case exprNullif:
		v := a.operator([]string{"="}, l, r, n.Location)
		v.typ = l.typ
		return v
	case exprLike, exprIlike, exprSimilar:
		return a.match(name, l, r, n)
	case exprBetween, exprNotBetween, exprBetweenSym, exprNotBetweenSym:
		v := a.operator([]string{">="}, l, r, n.Location).with(a.operator([]string{"<="}, l, r, n.Location))
		v.typ = typeBool
		return v
	}
	a.unsupported(n, "this expression")
	return value{}
}

// list follows the right side of an operator, which may be a list of
// expressions: then what it is made of has a type only if all have the same.
func (a *analyzer) list(n *ast.Node, s *scope) value {
	list, ok := ast.Unwrap(n).(*ast.List)
	if !ok {
		return a.expr(n, s)
	}
	var v value
	var types resultType
	for i, item := range list.Items {
		e := a.expr(item, s)
		types.add(e.typ)
		if i == 0 {
			v = e
		}
		v = v.with(e)
	}
	v.typ = types.common()
	return v
}

// rowComparison follows (a, b) = (SELECT …).
func (a *analyzer) rowComparison(n *ast.A_Expr, link *ast.SubLink, s *scope) value {
	l := a.expr(n.Lexpr, s)
	columns := a.query(link.Subselect, &scope{parent: s}, nil)
	v := a.operator(stringList(n.Name), l, value{label: labels(columns).derive(), traits: unclear}, n.Location)
	v.typ, v.risky = typeBool, true
	return v
}

// operator follows an operator by its name: what it does is what the least
// trusted operator of that name does, whatever the types.
func (a *analyzer) operator(name []string, l, r value, location int32) value {
	v := l.with(r)
	verdict := a.operatorVerdict(name)
	switch {
	case verdict == nil:
		a.unknownOperator(name, location)
		return v
	case verdict.trust == opaqueCode:
		a.opaque(location, "operator "+strings.Join(name, "."))
		return value{label: everything(), risky: true}
	}
	v.typ = verdict.result
	if v.typ == 0 {
		v.typ = a.operatorResult(name, l.typ, r.typ)
	}
	v.shaped = v.shaped || name[len(name)-1] != "||" && !v.label.bottom()
	if verdict.trust != pureCode || !a.totalOperator(name[len(name)-1], l, r) {
		v = a.fallible(v, "operator "+name[len(name)-1], location)
	}
	return v
}

// operatorResult returns the result type of the operator that has exactly these
// operand types; an untyped literal takes the other operand's. 0 if there is
// none, or several.
func (a *analyzer) operatorResult(name []string, l, r uint32) uint32 {
	if name[len(name)-1] == "||" && (isText(l) || isText(r)) && (isText(l) || l == typeUnknown) && (isText(r) || r == typeUnknown) {
		return typeText
	}
	l, r = operandTypes(l, r)
	if len(name) != 1 || l == 0 || r == 0 {
		return 0
	}
	var result uint32
	for _, o := range a.cat.FindOperators(a.env.SearchPath, name[0]) {
		if o.Left != l || o.Right != r {
			continue
		}
		if result != 0 && result != o.Result {
			return 0
		}
		result = o.Result
	}
	return result
}

func operandTypes(l, r uint32) (uint32, uint32) {
	if l == typeVarchar {
		l = typeText
	}
	if r == typeVarchar {
		r = typeText
	}
	switch {
	case l == typeUnknown:
		l = r
	case r == typeUnknown:
		r = l
	}
	return l, r
}

func (a *analyzer) unknownOperator(name []string, location int32) {
	if a.env.SearchPath == nil && len(name) == 1 {
		a.unknownPath(location, name[0])
		return
	}
	a.undefined(undefinedFunction, location, "", "operator %s does not exist", strings.Join(name, "."))
}

// operatorVerdict joins the verdicts on every operator that a name may mean;
// nil if there is none.
func (a *analyzer) operatorVerdict(name []string) *verdict {
	if len(name) > 1 {
		return a.prot.operatorVerdict(a.schemaName(name[len(name)-2]), name[len(name)-1])
	}
	var all *verdict
	for _, schema := range a.env.SearchPath {
		if pgcatalog.IsTemporarySchema(schema) {
			continue
		}
		all = all.worse(a.prot.operatorVerdict(schema, name[0]))
	}
	return all
}

// schemaName resolves pg_temp to the session's temporary schema.
func (a *analyzer) schemaName(schema string) string {
	if schema == "pg_temp" {
		if own, ok := a.temporarySchema(); ok {
			return own
		}
	}
	return schema
}

// isPattern reports whether an operator matches a pattern.
func isPattern(name []string) bool {
	return slices.Contains([]string{"~~", "!~~", "~~*", "!~~*"}, name[len(name)-1])
}

// match follows LIKE and its kin. Matching fails where a pattern ends in an
// escape, which is reached or not depending on the value: only a literal
// pattern without one is safe.
func (a *analyzer) match(name []string, l, r value, n *ast.A_Expr) value {
	v := a.operator(name, l, r, n.Location)
	v.typ = typeBool
	if v.label.bottom() {
		v.risky = l.risky || r.risky || !safePattern(n.Rexpr)
		return v
	}
	if !safePattern(n.Rexpr) || !r.label.bottom() {
		return a.fallible(v, "a match with this pattern", n.Location)
	}
	return v
}

func safePattern(n *ast.Node) bool {
	text, ok := literal(n)
	return ok && !strings.Contains(text, `\`)
}

// literal returns the text of a string constant.
func literal(n *ast.Node) (string, bool) {
	switch n := ast.Unwrap(n).(type) {
	case *ast.A_Const:
		if s := n.GetSval(); s != nil && !n.Isnull {
			return s.Sval, true
		}
	case *ast.TypeCast:
		return literal(n.Arg)
	}
	return "", false
}

// totalOperator reports whether a built-in operator cannot fail on these
// operands, whatever their values: comparisons, and concatenation of texts.
func (a *analyzer) totalOperator(name string, l, r value) bool {
	switch name {
	case "=", "<>", "<", "<=", ">", ">=", "~~", "!~~", "~~*", "!~~*", "^@":
		return a.comparableAll(l, r)
	case "->", "->>", "#>", "#>>":
		return true
	case "||":
		return l.size+r.size < largeSize && (l.label.bottom() || isText(l.typ)) && (r.label.bottom() || isText(r.typ)) && (isText(l.typ) || isText(r.typ))
	}
	return false
}
