package statement

import "strings"

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
func (f rowFilter) operation(m *A_Expr) truth {
	_, op := qualifiedName(m.GetName())
	l, r := m.GetLexpr(), m.GetRexpr()
	switch m.GetKind() {
	case A_Expr_Kind_AEXPR_OP:
		return f.comparison(m, op)
	case A_Expr_Kind_AEXPR_DISTINCT, A_Expr_Kind_AEXPR_NOT_DISTINCT:
		if f.same(l, r) {
			return truthOf(m.GetKind() == A_Expr_Kind_AEXPR_NOT_DISTINCT)
		}
	case A_Expr_Kind_AEXPR_IN:
		if f.oneOf(l, r) {
			return truthOf(op == "=")
		}
	case A_Expr_Kind_AEXPR_OP_ANY:
		if op == "=" && f.oneOf(l, r) {
			return always
		}
	case A_Expr_Kind_AEXPR_BETWEEN, A_Expr_Kind_AEXPR_BETWEEN_SYM:
		if list, ok := Unwrap(r).(*List); ok && len(list.GetItems()) == 2 && f.same(l, list.GetItems()[0]) && f.same(l, list.GetItems()[1]) {
			return always
		}
	case A_Expr_Kind_AEXPR_LIKE, A_Expr_Kind_AEXPR_ILIKE, A_Expr_Kind_AEXPR_SIMILAR:
		if f.matchesAll(r) {
			return truthOf(!strings.HasPrefix(op, "!"))
		}
	case A_Expr_Kind_AEXPR_OP_ALL, A_Expr_Kind_AEXPR_NULLIF, A_Expr_Kind_AEXPR_NOT_BETWEEN, A_Expr_Kind_AEXPR_NOT_BETWEEN_SYM,
		A_Expr_Kind_A_EXPR_KIND_UNDEFINED:
	}
	return f.unless(m)
}

// comparison is the value of a binary operator.
func (f rowFilter) comparison(m *A_Expr, op string) truth {
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

func constantOf(n *Node) *A_Const {
	switch m := Unwrap(n).(type) {
	case *A_Const:
		return m
	case *TypeCast:
		return constantOf(m.GetArg())
	}
	return nil
}

// compareConstants compares two integers, or two strings for equality alone:
// their order is the collation's.
func compareConstants(a, b *A_Const, mask outcomes) truth {
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
func (f rowFilter) bounded(l, r *Node, mask outcomes) bool {
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
func nonNegative(n *Node) bool {
	call, ok := Unwrap(n).(*FuncCall)
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
func (f rowFilter) oneOf(n, list *Node) bool {
	var items []*Node
	switch m := Unwrap(list).(type) {
	case *List:
		items = m.GetItems()
	case *A_ArrayExpr:
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
func (f rowFilter) matchesAll(n *Node) bool {
	if call, ok := Unwrap(n).(*FuncCall); ok && len(call.GetArgs()) > 0 { // similar_to_escape, like_escape
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
func (f rowFilter) exhaustive(args []*Node) bool {
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
func (f rowFilter) alternative(n *Node) (key string, mask, all outcomes) {
	switch m := Unwrap(n).(type) {
	case *BoolExpr:
		if m.GetBoolop() == BoolExprType_NOT_EXPR && len(m.GetArgs()) == 1 {
			key, mask, all = f.alternative(m.GetArgs()[0])
			return key, all &^ mask, all
		}
	case *NullTest:
		return "null " + f.exact(m.GetArg()), pick(m.GetNulltesttype() == NullTestType_IS_NULL), decided
	case *BooleanTest:
		if key, mask, ok := booleanAlternative(m); ok {
			return key + f.exact(m.GetArg()), mask, decided
		}
	case *A_Expr:
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

func booleanAlternative(m *BooleanTest) (key string, mask outcomes, ok bool) {
	switch m.GetBooltesttype() {
	case BoolTestType_IS_TRUE, BoolTestType_IS_NOT_TRUE:
		return "true ", pick(m.GetBooltesttype() == BoolTestType_IS_TRUE), true
	case BoolTestType_IS_FALSE, BoolTestType_IS_NOT_FALSE:
		return "false ", pick(m.GetBooltesttype() == BoolTestType_IS_FALSE), true
	case BoolTestType_IS_UNKNOWN, BoolTestType_IS_NOT_UNKNOWN:
		return "unknown ", pick(m.GetBooltesttype() == BoolTestType_IS_UNKNOWN), true
	case BoolTestType_BOOL_TEST_TYPE_UNDEFINED:
	}
	return "", 0, false
}

func (f rowFilter) comparedAlternative(m *A_Expr) (key string, mask, all outcomes, ok bool) {
	_, op := qualifiedName(m.GetName())
	pair := f.exact(m.GetLexpr()) + " with " + f.exact(m.GetRexpr())
	switch kind := m.GetKind(); {
	case kind == A_Expr_Kind_AEXPR_OP:
		mask, ok = compared(op)
		return "compare " + pair, mask, ordered, ok
	case kind == A_Expr_Kind_AEXPR_IN:
		return "in " + pair, pick(op == "="), decided, true
	case among(kind, A_Expr_Kind_AEXPR_LIKE, A_Expr_Kind_AEXPR_ILIKE, A_Expr_Kind_AEXPR_SIMILAR):
		return kind.String() + pair, pick(!strings.HasPrefix(op, "!")), decided, true
	case among(kind, A_Expr_Kind_AEXPR_DISTINCT, A_Expr_Kind_AEXPR_NOT_DISTINCT):
		return "distinct " + pair, pick(kind == A_Expr_Kind_AEXPR_DISTINCT), decided, true
	case among(kind, A_Expr_Kind_AEXPR_BETWEEN, A_Expr_Kind_AEXPR_NOT_BETWEEN):
		return "between " + pair, pick(kind == A_Expr_Kind_AEXPR_BETWEEN), decided, true
	}
	return "", 0, 0, false
}

// exact is the canonical form with constants, on which the facts then depend.
func (f rowFilter) exact(n *Node) string {
	s := f.canonical(n, false)
	if strings.Contains(s, "A_Const") {
		f.c.literal = true
	}
	return s
}
