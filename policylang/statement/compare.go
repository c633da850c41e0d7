package statement

import (
	"strings"

	"github.com/posternhq/postern/policylang/internal/ast"
)

// outcomes is a set of the ways in which a comparison can come out.
type outcomes uint8

const (
	less outcomes = 1 << iota
	equal
	greater

	ordered = less | equal | greater
	// These are for tests with two outcomes.
	holds, fails = less, greater
	decided      = holds | fails
)

// compared returns the outcomes for which an operator is true.
func compared(op string) (outcomes, bool) {
	switch op {
	case "=":
		return equal, true
	case "<>", "!=":
		return less | greater, true
	case "<":
		return less, true
	case "<=":
		return less | equal, true
	case ">":
		return greater, true
	case ">=":
		return greater | equal, true
	}
	return 0, false
}

// operation is the value of an operator, IN, LIKE, BETWEEN or IS DISTINCT FROM.
func (f rowFilter) operation(m *ast.A_Expr) truth {
	_, op := qualifiedName(m.GetName())
	l, r := m.GetLexpr(), m.GetRexpr()
	switch m.GetKind() {
	case ast.A_Expr_Kind_AEXPR_OP:
		return f.comparison(m, op)
	case ast.A_Expr_Kind_AEXPR_DISTINCT, ast.A_Expr_Kind_AEXPR_NOT_DISTINCT:
		if f.same(l, r) {
			return truthOf(m.GetKind() == ast.A_Expr_Kind_AEXPR_NOT_DISTINCT)
		}
	case ast.A_Expr_Kind_AEXPR_IN:
		if f.oneOf(l, r) {
			return truthOf(op == "=")
		}
	case ast.A_Expr_Kind_AEXPR_OP_ANY:
		if op == "=" && f.oneOf(l, r) {
			return always
		}
	case ast.A_Expr_Kind_AEXPR_BETWEEN, ast.A_Expr_Kind_AEXPR_BETWEEN_SYM:
		if list, ok := ast.Unwrap(r).(*ast.List); ok && len(list.GetItems()) == 2 && f.same(l, list.GetItems()[0]) && f.same(l, list.GetItems()[1]) {
			return always
		}
	case ast.A_Expr_Kind_AEXPR_LIKE, ast.A_Expr_Kind_AEXPR_ILIKE, ast.A_Expr_Kind_AEXPR_SIMILAR:
		if f.matchesAll(r) {
			return truthOf(!strings.HasPrefix(op, "!"))
		}
	case ast.A_Expr_Kind_AEXPR_OP_ALL, ast.A_Expr_Kind_AEXPR_NULLIF, ast.A_Expr_Kind_AEXPR_NOT_BETWEEN, ast.A_Expr_Kind_AEXPR_NOT_BETWEEN_SYM,
		ast.A_Expr_Kind_A_EXPR_KIND_UNDEFINED:
	}
	return f.unless(m)
}

// comparison is the value of a binary operator.
func (f rowFilter) comparison(m *ast.A_Expr, op string) truth {
	l, r := m.GetLexpr(), m.GetRexpr()
	mask, isComparison := compared(op)
	if !isComparison {
		switch strings.TrimPrefix(op, "!") {
		case "~", "~*", "~~", "~~*":
			if f.matchesAll(r) {
				return truthOf(!strings.HasPrefix(op, "!"))
			}
		}
		return f.unless(m)
	}
	if l == nil || r == nil {
		return f.unless(m)
	}
	if a, b := constantOf(l), constantOf(r); a != nil && b != nil {
		f.c.literal = true
		return compareConstants(a, b, mask)
	}
	if f.same(l, r) {
		return truthOf(mask&equal != 0)
	}
	if f.bounded(l, r, mask) || f.bounded(r, l, mirrored(mask)) {
		return always
	}
	return f.unless(m)
}

// mirrored swaps less and greater.
func mirrored(m outcomes) outcomes {
	out := m & equal
	if m&less != 0 {
		out |= greater
	}
	if m&greater != 0 {
		out |= less
	}
	return out
}

func constantOf(n *ast.Node) *ast.A_Const {
	switch m := ast.Unwrap(n).(type) {
	case *ast.A_Const:
		return m
	case *ast.TypeCast:
		return constantOf(m.GetArg())
	}
	return nil
}

// compareConstants compares two integers, or two strings for equality alone:
// their order is the collation's.
func compareConstants(a, b *ast.A_Const, mask outcomes) truth {
	if a.GetIsnull() || b.GetIsnull() {
		return null
	}
	if x, ok := integerValue(a); ok {
		if y, ok := integerValue(b); ok {
			switch {
			case x < y:
				return truthOf(mask&less != 0)
			case x > y:
				return truthOf(mask&greater != 0)
			}
			return truthOf(mask&equal != 0)
		}
	}
	if a.GetSval() != nil && b.GetSval() != nil {
		if a.GetSval().GetSval() == b.GetSval().GetSval() {
			return truthOf(mask&equal != 0)
		}
		if mask == equal || mask == less|greater {
			return truthOf(mask != equal)
		}
	}
	return free
}

// bounded reports whether a comparison with a number holds for all that the
// other side can be: all of an integer's range, or what is never negative.
func (f rowFilter) bounded(l, r *ast.Node, mask outcomes) bool {
	k := constantOf(r)
	if k == nil || mask&(less|greater) == 0 || mask == less|greater {
		return false
	}
	v, ok := integerValue(k)
	if !ok {
		return false
	}
	f.c.literal = true
	const lowest, highest = -1 << 31, 1<<31 - 1
	if mask&greater != 0 {
		return v <= lowest || nonNegative(l) && (v < 0 || v == 0 && mask&equal != 0)
	}
	return v >= highest
}

// nonNegative reports whether an expression is a function that is never
// negative.
func nonNegative(n *ast.Node) bool {
	call, ok := ast.Unwrap(n).(*ast.FuncCall)
	if !ok {
		return false
	}
	switch _, name := qualifiedName(call.GetFuncname()); name {
	case "abs", "length", "char_length", "character_length", "octet_length", "bit_length", "cardinality", "position", "strpos":
		return true
	}
	return false
}

// oneOf reports whether the list or array holds the expression itself.
func (f rowFilter) oneOf(n, list *ast.Node) bool {
	var items []*ast.Node
	switch m := ast.Unwrap(list).(type) {
	case *ast.List:
		items = m.GetItems()
	case *ast.A_ArrayExpr:
		items = m.GetElements()
	}
	for _, item := range items {
		if f.same(n, item) {
			return true
		}
	}
	return false
}

// matchesAll reports whether a pattern matches every text: as LIKE, as SIMILAR
// TO or as a regular expression.
func (f rowFilter) matchesAll(n *ast.Node) bool {
	if call, ok := ast.Unwrap(n).(*ast.FuncCall); ok && len(call.GetArgs()) > 0 { // similar_to_escape, like_escape
		n = call.GetArgs()[0]
	}
	k := constantOf(n)
	if k == nil || k.GetSval() == nil {
		return false
	}
	f.c.literal = true
	return strings.Trim(k.GetSval().GetSval(), "%.*^$") == "" && k.GetSval().GetSval() != "^$"
}

// exhaustive reports whether the alternatives of an OR are all there are: x or
// not x, a < b or a >= b, a is null or a is not null.
func (f rowFilter) exhaustive(args []*ast.Node) bool {
	seen := map[string]outcomes{}
	for _, n := range args {
		key, mask, all := f.alternative(n)
		if seen[key] |= mask; seen[key] == all {
			return true
		}
	}
	return false
}

// alternative returns what an expression tests, the outcomes for which it is
// true, and all outcomes that there are.
func (f rowFilter) alternative(n *ast.Node) (key string, mask, all outcomes) {
	switch m := ast.Unwrap(n).(type) {
	case *ast.BoolExpr:
		if m.GetBoolop() == ast.BoolExprType_NOT_EXPR && len(m.GetArgs()) == 1 {
			key, mask, all = f.alternative(m.GetArgs()[0])
			return key, all &^ mask, all
		}
	case *ast.NullTest:
		return "null " + f.exact(m.GetArg()), pick(m.GetNulltesttype() == ast.NullTestType_IS_NULL), decided
	case *ast.BooleanTest:
		if key, mask, ok := booleanAlternative(m); ok {
			return key + f.exact(m.GetArg()), mask, decided
		}
	case *ast.A_Expr:
		if key, mask, all, ok := f.comparedAlternative(m); ok {
			return key, mask, all
		}
	}
	return "is " + f.exact(n), holds, decided
}

func pick(b bool) outcomes {
	if b {
		return holds
	}
	return fails
}

func booleanAlternative(m *ast.BooleanTest) (key string, mask outcomes, ok bool) {
	switch m.GetBooltesttype() {
	case ast.BoolTestType_IS_TRUE, ast.BoolTestType_IS_NOT_TRUE:
		return "true ", pick(m.GetBooltesttype() == ast.BoolTestType_IS_TRUE), true
	case ast.BoolTestType_IS_FALSE, ast.BoolTestType_IS_NOT_FALSE:
		return "false ", pick(m.GetBooltesttype() == ast.BoolTestType_IS_FALSE), true
	case ast.BoolTestType_IS_UNKNOWN, ast.BoolTestType_IS_NOT_UNKNOWN:
		return "unknown ", pick(m.GetBooltesttype() == ast.BoolTestType_IS_UNKNOWN), true
	case ast.BoolTestType_BOOL_TEST_TYPE_UNDEFINED:
	}
	return "", 0, false
}

func (f rowFilter) comparedAlternative(m *ast.A_Expr) (key string, mask, all outcomes, ok bool) {
	_, op := qualifiedName(m.GetName())
	pair := f.exact(m.GetLexpr()) + " with " + f.exact(m.GetRexpr())
	switch kind := m.GetKind(); {
	case kind == ast.A_Expr_Kind_AEXPR_OP:
		mask, ok = compared(op)
		return "compare " + pair, mask, ordered, ok
	case kind == ast.A_Expr_Kind_AEXPR_IN:
		return "in " + pair, pick(op == "="), decided, true
	case among(kind, ast.A_Expr_Kind_AEXPR_LIKE, ast.A_Expr_Kind_AEXPR_ILIKE, ast.A_Expr_Kind_AEXPR_SIMILAR):
		return kind.String() + pair, pick(!strings.HasPrefix(op, "!")), decided, true
	case among(kind, ast.A_Expr_Kind_AEXPR_DISTINCT, ast.A_Expr_Kind_AEXPR_NOT_DISTINCT):
		return "distinct " + pair, pick(kind == ast.A_Expr_Kind_AEXPR_DISTINCT), decided, true
	case among(kind, ast.A_Expr_Kind_AEXPR_BETWEEN, ast.A_Expr_Kind_AEXPR_NOT_BETWEEN):
		return "between " + pair, pick(kind == ast.A_Expr_Kind_AEXPR_BETWEEN), decided, true
	}
	return "", 0, 0, false
}

// exact is the canonical form with constants, on which the facts then depend.
func (f rowFilter) exact(n *ast.Node) string {
	s := f.canonical(n, false)
	if strings.Contains(s, "A_Const") {
		f.c.literal = true
	}
	return s
}
