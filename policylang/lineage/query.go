package lineage

import (
	"slices"

	"github.com/posternhq/postern/policylang/internal/ast"
)

// enter begins a nested node; leave ends it.
func (a *analyzer) enter() bool {
	a.depth++
	if a.depth > maxDepth {
		a.refuse(CodeTooComplex, -1, "Nest less deeply.", "the statement is nested too deeply to follow")
	}
	return a.spend(1)
}

func (a *analyzer) leave() { a.depth-- }

// query follows a query and returns the columns of its rows. Besides SELECT,
// statements with RETURNING are queries where the grammar lets them be. A
// recursive WITH query gives itself as self.
func (a *analyzer) query(n *ast.Node, outer *scope, self *cte) []column {
	if !a.enter() {
		return nil
	}
	defer a.leave()
	switch n := ast.Unwrap(n).(type) {
	case *ast.SelectStmt:
		return a.selectStmt(n, outer, self)
	case *ast.InsertStmt:
		return a.insert(n, outer)
	case *ast.UpdateStmt:
		return a.update(n, outer)
	case *ast.DeleteStmt:
		return a.delete(n, outer)
	case *ast.MergeStmt:
		return a.merge(n, outer)
	default:
		a.unsupported(n, "this kind of query")
		return nil
	}
}

func (a *analyzer) selectStmt(n *ast.SelectStmt, outer *scope, self *cte) []column {
	if !a.enter() {
		return nil
	}
	defer a.leave()
	s := &scope{parent: a.with(n.WithClause, outer)}
	var columns []column
	switch {
	case n.Op > setopNone:
		columns = a.setOperation(n, s, self)
	case len(n.ValuesLists) > 0:
		columns = a.values(n, s)
	default:
		columns = a.plainSelect(n, s)
	}
	a.predicate(n.LimitOffset, &scope{parent: s.parent}, "OFFSET")
	a.predicate(n.LimitCount, &scope{parent: s.parent}, "LIMIT")
	if n.IntoClause != nil {
		a.into(n.IntoClause, columns, n.IntoClause.Rel.GetLocation())
	}
	if len(columns) > maxTargets {
		a.refuse(CodeTooComplex, -1, "Select fewer columns.", "target lists can have at most %d entries", maxTargets)
	}
	return columns
}

func (a *analyzer) plainSelect(n *ast.SelectStmt, s *scope) []column {
	a.from(n.FromClause, s)
	targets := a.targetList(n.TargetList, s)
	a.where(n.WhereClause, s, "WHERE")
	for _, g := range n.GroupClause {
		a.groupItem(g, s, targets)
	}
	a.predicate(n.HavingClause, s, "HAVING")
	for _, w := range n.WindowClause {
		if def, ok := ast.Unwrap(w).(*ast.WindowDef); ok {
			a.window(def, s)
		}
	}
	a.distinct(n.DistinctClause, s, targets)
	a.sort(n.SortClause, s, targets, "ORDER BY")
	a.locking(n.LockingClause)
	return columnsOf(targets)
}

// locking reads FOR UPDATE and its kind, which locks rows that are read anyway.
func (a *analyzer) locking(list []*ast.Node) {
	for _, n := range list {
		if _, ok := ast.Unwrap(n).(*ast.LockingClause); !ok {
			a.unsupported(ast.Unwrap(n), "this locking clause")
		}
	}
}

// predicate follows an expression that decides which rows there are.
func (a *analyzer) predicate(n *ast.Node, s *scope, clause string) {
	if n == nil {
		return
	}
	refusedBefore := a.refusal != nil
	v := a.expr(n, s)
	if !refusedBefore && a.refusal != nil && a.refusal.Code == CodeFallible { // that it decides says more
		a.refusal = nil
		a.decides(a.mayFail, clause, n)
	}
	a.decides(v.label, clause, n)
}

// decides refuses that an expression of that label decides which rows there are,
// unless policies allow it.
func (a *analyzer) decides(l label, clause string, n *ast.Node) {
	a.control(l, usePredicate, clause, a.locateColumn(n, a.denied(l, usePredicate)))
}

// where follows a WHERE. A policy may let a masked column be compared with one
// constant by =.
func (a *analyzer) where(n *ast.Node, s *scope, clause string) {
	if n == nil {
		return
	}
	guessed := false
	for _, c := range conjuncts(n, nil) {
		guesses := a.equality
		if !guessed && a.guess(c, s) {
			guessed = a.equality > guesses
			continue
		}
		a.predicate(c, s, clause)
	}
}

// conjuncts splits a condition at its top-level ANDs.
func conjuncts(n *ast.Node, into []*ast.Node) []*ast.Node {
	b, ok := ast.Unwrap(n).(*ast.BoolExpr)
	if !ok || b.Boolop != boolAnd {
		return append(into, n)
	}
	for _, arg := range b.Args {
		into = conjuncts(arg, into)
	}
	return into
}

// guess reports whether a condition is the comparison of a masked column with a
// constant, in a way that its policies' equality knob lets pass, and counts it.
func (a *analyzer) guess(n *ast.Node, s *scope) bool {
	if len(a.body.calls) > 0 {
		return false // its parameters are no constants
	}
	e, ok := ast.Unwrap(n).(*ast.A_Expr)
	if !ok || e.Kind != exprOp || !slices.Equal(stringList(e.Name), []string{"="}) {
		return false
	}
	ref, constant := e.Lexpr, e.Rexpr
	if isConstant(ref) {
		ref, constant = constant, ref
	}
	if _, ok := ast.Unwrap(ref).(*ast.ColumnRef); !ok || !isConstant(constant) {
		return false
	}
	v := a.expr(ref, s)
	if v.label.bottom() || v.label.derived || !a.equalityAllowed(v.label) {
		return false
	}
	a.operator([]string{"="}, v, a.expr(constant, s), e.Location)
	a.equality++
	return true
}

func (a *analyzer) equalityAllowed(l label) bool {
	for _, id := range l.columns {
		if k := a.prot.knob(id, usePredicate); k != knobEquality {
			return false
		}
	}
	return true
}

// isConstant reports whether the expression is a literal or a parameter,
// perhaps cast.
func isConstant(n *ast.Node) bool {
	switch n := ast.Unwrap(n).(type) {
	case *ast.A_Const, *ast.ParamRef:
		return true
	case *ast.TypeCast:
		return isConstant(n.Arg)
	}
	return false
}

// setOperation follows UNION, INTERSECT and EXCEPT.
func (a *analyzer) setOperation(n *ast.SelectStmt, s *scope, self *cte) []column {
	left := a.selectStmt(n.Larg, s, nil)
	at := maskedItem(n.Larg, left)
	var out []column
	if self != nil && n.Op == setopUnion {
		out = a.recursion(n, s, self, left)
	} else {
		right := a.selectStmt(n.Rarg, s, nil)
		if at < 0 {
			at = maskedItem(n.Rarg, right)
		}
		out = a.arms(left, right)
	}
	if n.Op != setopUnion {
		a.control(labels(out), usePredicate, setopName(n), at)
	} else if !n.All {
		a.control(labels(out), useGroup, "UNION (without ALL)", at)
	}
	a.sort(n.SortClause, &scope{parent: s.parent}, namedTargets(out), "ORDER BY")
	a.locking(n.LockingClause)
	return out
}

// maskedItem is where the first of a query's columns that is masked stands in
// its list, -1 if none is, or if that cannot be told from a list with stars.
func maskedItem(n *ast.SelectStmt, columns []column) int32 {
	return itemAt(n, len(columns), slices.IndexFunc(columns, func(c column) bool { return !c.label.bottom() }))
}

// itemAt is where a column of a query with so many of them stands in its list,
// of a set operation the first one's, -1 if that cannot be told.
func itemAt(n *ast.SelectStmt, columns, i int) int32 {
	for n != nil && n.Larg != nil {
		n = n.Larg
	}
	if n == nil || i < 0 || len(n.TargetList) != columns {
		return -1
	}
	return locate(n.TargetList[i])
}

func setopName(n *ast.SelectStmt) string {
	if n.Op == setopIntersect {
		return "INTERSECT"
	}
	return "EXCEPT"
}

// arms joins the columns of two arms by position; names are the left one's.
func (a *analyzer) arms(left, right []column) []column {
	if a.refusal != nil {
		return left
	}
	if len(left) != len(right) {
		a.refuse(CodeUnknown, -1, "", "each query of a set operation must have the same number of columns")
		return left
	}
	out := make([]column, len(left))
	for i := range left {
		out[i] = arm(&left[i], &right[i])
	}
	return out
}

func arm(l, r *column) column {
	c := column{name: l.name, label: join(l.label, r.label), traits: l.either(r.traits)}
	switch {
	case l.typ == r.typ, r.typ == typeUnknown:
		c.typ = l.typ
	case l.typ == typeUnknown:
		c.typ = r.typ
	}
	if len(l.fields) == len(r.fields) && len(l.fields) > 0 {
		c.fields = make([]column, len(l.fields))
		for i := range l.fields {
			c.fields[i] = arm(&l.fields[i], &r.fields[i])
		}
	}
	return c
}

// values follows VALUES lists: its columns are joined over the rows.
func (a *analyzer) values(n *ast.SelectStmt, s *scope) []column {
	var out []column
	for i, row := range n.ValuesLists {
		list, ok := ast.Unwrap(row).(*ast.List)
		if !ok {
			a.unsupported(ast.Unwrap(row), "this VALUES list")
			return nil
		}
		columns := make([]column, len(list.Items))
		for j, item := range list.Items {
			v := a.expr(item, s)
			columns[j] = v.column(valuesName(j))
		}
		if i == 0 {
			out = columns
		} else {
			out = a.arms(out, columns)
		}
		if a.refusal != nil {
			return out
		}
	}
	s.items = []*item{{alias: "*VALUES*", columns: out, named: true, bare: true, lateralOK: true}}
	a.sort(n.SortClause, s, namedTargets(out), "ORDER BY")
	return out
}
