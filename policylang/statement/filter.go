package statement

import (
	"slices"
	"strings"

	"github.com/posternhq/postern/policylang/internal/ast"
)

// truth is what a condition says about the rows of the statement's target, as
// far as the text alone tells.
type truth uint8

const (
	varies truth = iota // depends on the row
	free                // the same for every row, but not known: no column of the target is in it
	always              // true for every row, those with NULL perhaps aside
	never               // false for every row, those with NULL perhaps aside
	null                // NULL for every row
)

// filter reads the WHERE of an UPDATE or DELETE, which may be nil.
func (c *collector) filter(where *ast.Node) {
	c.expr(where)
	c.filterAll(where)
}

// filterAll decides whether conditions that all must hold keep any row out. One
// that no column of the target decides keeps out all rows or none: it is no
// filter, unless it is constantly false.
func (c *collector) filterAll(conditions ...*ast.Node) {
	if c.planned {
		return
	}
	f := rowFilter{c: c}
	if c.scope.target != nil {
		f.target = *c.scope.target
	}
	result := always
	for _, n := range conditions {
		if n != nil {
			result = both(result, f.truth(n))
		}
	}
	if result == always || result == free || c.steps > maxSteps {
		c.filtered = false
	}
}

// maxSteps bounds the work on conditions that nobody writes. What takes longer
// is not taken for a filter.
const maxSteps = 1 << 18

// step reports whether to go on.
func (f rowFilter) step() bool {
	f.c.steps++
	return f.c.steps <= maxSteps
}

// rowFilter evaluates conditions on the rows of target.
type rowFilter struct {
	c      *collector
	target item
}

// both is AND, either is OR, not is NOT.
func both(a, b truth) truth {
	switch {
	case a == never || b == never:
		return never
	case a == null || b == null:
		return null
	case a == always:
		return b
	case b == always:
		return a
	case a == varies || b == varies:
		return varies
	}
	return free
}

func either(a, b truth) truth {
	switch {
	case a == always || b == always:
		return always
	case a == never || a == null:
		return b
	case b == never || b == null:
		return a
	case a == free || b == free:
		return free // what is not the row's may let every row in
	}
	return varies
}

func not(a truth) truth {
	switch a {
	case always:
		return never
	case never:
		return always
	case varies, free, null:
	}
	return a
}

func (f rowFilter) truth(n *ast.Node) truth {
	if !f.step() {
		return free
	}
	switch m := ast.Unwrap(n).(type) {
	case *ast.A_Const:
		return f.constant(m)
	case *ast.TypeCast:
		return f.cast(m)
	case *ast.BoolExpr:
		return f.boolean(m)
	case *ast.A_Expr:
		return f.operation(m)
	case *ast.NullTest:
		return f.nullTest(m)
	case *ast.BooleanTest:
		return booleanTest(m.GetBooltesttype(), f.truth(m.GetArg()))
	case *ast.CaseExpr:
		return f.caseExpr(m)
	case *ast.CoalesceExpr:
		return f.coalesce(m)
	case *ast.SubLink:
		return f.subLink(m)
	case *ast.CurrentOfExpr:
		return varies
	}
	return f.unless(ast.Unwrap(n))
}

// unless is what is left to say of a condition: whether the row has a part in
// it.
func (f rowFilter) unless(m any) truth {
	if f.depends(m, nil, false) {
		return varies
	}
	return free
}

func (f rowFilter) constant(m *ast.A_Const) truth {
	f.c.literal = true
	switch {
	case m.GetIsnull():
		return null
	case m.GetBoolval() != nil:
		return truthOf(m.GetBoolval().GetBoolval())
	case m.GetSval() != nil: // an untyped constant becomes a boolean
		return booleanText(m.GetSval().GetSval())
	}
	return free
}

func truthOf(b bool) truth {
	if b {
		return always
	}
	return never
}

// booleanText is the value of a boolean's text: any beginning of the word.
func booleanText(s string) truth {
	s = strings.ToLower(strings.TrimSpace(s))
	switch {
	case s == "1" || s == "on" || s != "" && (strings.HasPrefix("true", s) || strings.HasPrefix("yes", s)):
		return always
	case s == "0" || s == "of" || s == "off" || s != "" && (strings.HasPrefix("false", s) || strings.HasPrefix("no", s)):
		return never
	}
	return free
}

func (f rowFilter) cast(m *ast.TypeCast) truth {
	if _, name := qualifiedName(m.GetTypeName().GetNames()); name != "bool" {
		return f.unless(m)
	}
	if k, ok := ast.Unwrap(m.GetArg()).(*ast.A_Const); ok && k.GetIval() != nil {
		f.c.literal = true
		return truthOf(k.GetIval().GetIval() != 0)
	}
	return f.truth(m.GetArg())
}

func (f rowFilter) boolean(m *ast.BoolExpr) truth {
	args := m.GetArgs()
	switch m.GetBoolop() {
	case ast.BoolExprType_NOT_EXPR:
		if len(args) == 1 {
			return not(f.truth(args[0]))
		}
	case ast.BoolExprType_AND_EXPR:
		result := always
		for _, a := range args {
			result = both(result, f.truth(a))
		}
		return result
	case ast.BoolExprType_OR_EXPR:
		if f.exhaustive(args) {
			return always
		}
		result := never
		for _, a := range args {
			result = either(result, f.truth(a))
		}
		return result
	case ast.BoolExprType_BOOL_EXPR_TYPE_UNDEFINED:
	}
	return free
}

// booleanTest is the value of IS [NOT] TRUE, FALSE or UNKNOWN.
func booleanTest(test ast.BoolTestType, arg truth) truth {
	switch arg {
	case varies, free:
		return arg
	case always, never, null:
	}
	switch test {
	case ast.BoolTestType_IS_TRUE:
		return truthOf(arg == always)
	case ast.BoolTestType_IS_NOT_TRUE:
		return truthOf(arg != always)
	case ast.BoolTestType_IS_FALSE:
		return truthOf(arg == never)
	case ast.BoolTestType_IS_NOT_FALSE:
		return truthOf(arg != never)
	case ast.BoolTestType_IS_UNKNOWN:
		return truthOf(arg == null)
	case ast.BoolTestType_IS_NOT_UNKNOWN:
		return truthOf(arg != null)
	case ast.BoolTestType_BOOL_TEST_TYPE_UNDEFINED:
	}
	return free
}

func (f rowFilter) nullTest(m *ast.NullTest) truth {
	isNull := free
	switch {
	case f.neverNull(m.GetArg()):
		isNull = never
	case f.truth(m.GetArg()) == null:
		isNull = always
	case f.depends(ast.Unwrap(m.GetArg()), nil, false):
		isNull = varies
	}
	if m.GetNulltesttype() == ast.NullTestType_IS_NOT_NULL {
		return not(isNull)
	}
	return isNull
}

// neverNull reports whether the text shows that an expression is not NULL: a
// constant, a system column, or a choice that ends in a constant.
func (f rowFilter) neverNull(n *ast.Node) bool {
	switch m := ast.Unwrap(n).(type) {
	case *ast.A_Const:
		f.c.literal = true
		return !m.GetIsnull()
	case *ast.TypeCast:
		return f.neverNull(m.GetArg())
	case *ast.ColumnRef:
		names, _ := columnNames(m)
		return len(names) > 0 && systemColumn(names[len(names)-1])
	case *ast.CoalesceExpr:
		return slices.ContainsFunc(m.GetArgs(), f.neverNull)
	case *ast.NullTest, *ast.BooleanTest, *ast.A_ArrayExpr:
		return true
	}
	return false
}

func systemColumn(name string) bool {
	switch name {
	case "ctid", "tableoid", "xmin", "xmax", "cmin", "cmax":
		return true
	}
	return false
}

func (f rowFilter) caseExpr(m *ast.CaseExpr) truth {
	result, decided := varies, true
	for i, n := range m.GetArgs() {
		w, ok := ast.Unwrap(n).(*ast.CaseWhen)
		if !ok || m.GetArg() != nil {
			return f.unless(m)
		}
		condition, value := f.truth(w.GetExpr()), f.truth(w.GetResult())
		switch condition {
		case never, null:
			continue
		case always:
			if decided {
				return value
			}
		case varies, free:
		}
		if i == 0 || decided {
			result, decided = value, false
		} else if result != value {
			return f.unless(m)
		}
	}
	last := null
	if m.GetDefresult() != nil {
		last = f.truth(m.GetDefresult())
	}
	if decided || result == last {
		return last
	}
	return f.unless(m)
}

func (f rowFilter) coalesce(m *ast.CoalesceExpr) truth {
	result := null
	for _, a := range m.GetArgs() {
		if result = f.truth(a); result != null {
			return result
		}
	}
	return result
}

func (f rowFilter) subLink(m *ast.SubLink) truth {
	q, ok := ast.Unwrap(m.GetSubselect()).(*ast.SelectStmt)
	if !ok {
		return free
	}
	plain := q.GetLarg() == nil && len(q.GetFromClause()) == 0 && q.GetWhereClause() == nil && q.GetHavingClause() == nil &&
		len(q.GetValuesLists()) == 0 && q.GetLimitCount() == nil && q.GetLimitOffset() == nil
	switch kind := m.GetSubLinkType(); {
	case plain && kind == ast.SubLinkType_EXISTS_SUBLINK:
		return always
	case plain && kind == ast.SubLinkType_EXPR_SUBLINK && len(q.GetTargetList()) == 1:
		if r, ok := ast.Unwrap(q.GetTargetList()[0]).(*ast.ResTarget); ok {
			return f.truth(r.GetVal())
		}
	case kind == ast.SubLinkType_ANY_SUBLINK && f.everyRowIsIn(m.GetTestexpr(), q):
		return always
	}
	return f.unless(m)
}

// everyRowIsIn reports whether column IN (SELECT column FROM target) is said of
// the target itself.
func (f rowFilter) everyRowIsIn(test *ast.Node, q *ast.SelectStmt) bool {
	column, ok := ast.Unwrap(test).(*ast.ColumnRef)
	if !ok || len(q.GetFromClause()) != 1 || len(q.GetTargetList()) != 1 || q.GetWhereClause() != nil ||
		q.GetHavingClause() != nil || len(q.GetGroupClause()) > 0 || q.GetLimitCount() != nil || q.GetLimitOffset() != nil {
		return false
	}
	from, isRelation := ast.Unwrap(q.GetFromClause()[0]).(*ast.RangeVar)
	out, isTarget := ast.Unwrap(q.GetTargetList()[0]).(*ast.ResTarget)
	if !isRelation || !isTarget || from.GetRelname() != f.target.table {
		return false
	}
	selected, ok := ast.Unwrap(out.GetVal()).(*ast.ColumnRef)
	if !ok {
		return false
	}
	a, _ := columnNames(column)
	b, _ := columnNames(selected)
	return len(a) > 0 && len(b) > 0 && a[len(a)-1] == b[len(b)-1]
}
