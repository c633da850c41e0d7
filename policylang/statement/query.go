package statement

import (
	"strconv"

	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/policylang/internal/ast"
)

// selectStmt reads a SELECT, VALUES, TABLE or set operation.
func (c *collector) selectStmt(s *ast.SelectStmt) {
	if s == nil {
		return
	}
	c.raise(policylang.ClassRead)
	c.push(false)
	defer c.pop()
	c.with(s.GetWithClause())
	if s.GetLarg() != nil || s.GetRarg() != nil {
		c.selectStmt(s.GetLarg())
		c.selectStmt(s.GetRarg())
	}
	c.from(s.GetFromClause())
	c.exprs(s.GetDistinctClause())
	outer := c.picked
	c.picked = picked{query: s}
	c.targets(s.GetTargetList())
	c.picked = outer
	c.expr(s.GetWhereClause())
	c.exprs(s.GetGroupClause())
	c.expr(s.GetHavingClause())
	c.exprs(s.GetWindowClause())
	c.exprs(s.GetValuesLists())
	c.exprs(s.GetSortClause())
	c.expr(s.GetLimitOffset())
	c.expr(s.GetLimitCount())
	for _, l := range s.GetLockingClause() {
		c.locking(l)
	}
	if into := s.GetIntoClause(); into != nil {
		c.into(into)
		c.command("SELECT") // what the server answers
	}
}

// into reads the relation that a query's rows are written to.
func (c *collector) into(into *ast.IntoClause) {
	c.rangeVar(into.GetRel(), policylang.VerbCreate)
	c.definition(policylang.ClassDDL)
	c.defineAll(into.GetOptions())
}

// definition raises the class of what would change the schema, if it runs.
func (c *collector) definition(class policylang.Class) {
	if !c.planned {
		c.change(class)
	}
}

// outermostSelect returns the SELECT whose rows a statement returns or stores,
// or nil.
func outermostSelect(m any) *ast.SelectStmt {
	switch m := m.(type) {
	case *ast.SelectStmt:
		return m
	case *ast.ExplainStmt:
		return outermostSelect(ast.Unwrap(m.GetQuery()))
	case *ast.PrepareStmt:
		return outermostSelect(ast.Unwrap(m.GetQuery()))
	case *ast.DeclareCursorStmt:
		return outermostSelect(ast.Unwrap(m.GetQuery()))
	case *ast.CreateTableAsStmt:
		return outermostSelect(ast.Unwrap(m.GetQuery()))
	case *ast.CopyStmt:
		return outermostSelect(ast.Unwrap(m.GetQuery()))
	}
	return nil
}

// topSelect reads what only the outermost SELECT says.
func (c *collector) topSelect(s *ast.SelectStmt) {
	n := constantOf(s.GetLimitCount())
	if n == nil || n.GetIsnull() || s.GetLimitOption() == ast.LimitOption_LIMIT_OPTION_WITH_TIES {
		return
	}
	if limit, ok := integerValue(n); ok {
		c.limit = limit
	}
	// The constant is in the cache's key if it stands where the scanner looks
	// for it, see [scanner.count].
	if plain, ok := ast.Unwrap(s.GetLimitCount()).(*ast.A_Const); ok && countAt(c.text, int(plain.GetLocation())-c.offset) {
		c.limited = true
	} else if n.GetLocation() >= 0 { // FETCH FIRST ROW has a constant that is not written
		c.literal = true
	}
}

// integerValue returns the value of an integer constant.
func integerValue(n *ast.A_Const) (int64, bool) {
	switch {
	case n.GetIsnull():
		return 0, false
	case n.GetIval() != nil:
		return int64(n.GetIval().GetIval()), true
	case n.GetFval() != nil:
		v, err := strconv.ParseInt(n.GetFval().GetFval(), 10, 64)
		return v, err == nil
	}
	return 0, false
}

// locking reads FOR UPDATE and its kin. Without OF it locks all relations of
// the level, those in subqueries too.
func (c *collector) locking(n *ast.Node) {
	l, ok := ast.Unwrap(n).(*ast.LockingClause)
	if !ok {
		c.mystery()
		return
	}
	if c.planned {
		return
	}
	c.change(policylang.ClassWrite)
	if len(l.GetLockedRels()) == 0 {
		c.lockVisible()
		return
	}
	for _, n := range l.GetLockedRels() {
		r, ok := ast.Unwrap(n).(*ast.RangeVar)
		if !ok {
			c.mystery()
			continue
		}
		c.scope.called(r.GetRelname(), func(it item) {
			if it.table != "" {
				c.relation(it.schema, it.table, policylang.VerbLock)
			} else {
				c.lockVisible()
			}
		})
	}
}

// lockVisible adds a lock on each relation read so far: a superset of those
// that a locking clause reaches through subqueries and CTEs.
func (c *collector) lockVisible() {
	for _, r := range c.relations[c.locked:] {
		if r.Verb == policylang.VerbRead {
			c.relations = append(c.relations, policylang.Relation{Schema: r.Schema, Name: r.Name, Verb: policylang.VerbLock})
		}
	}
	c.locked = len(c.relations)
}

// with reads the common table expressions of a level. Without RECURSIVE each
// sees those before it; its own name means the relation outside.
func (c *collector) with(w *ast.WithClause) {
	if w == nil {
		return
	}
	if w.GetRecursive() {
		for _, n := range w.GetCtes() {
			if cte, ok := ast.Unwrap(n).(*ast.CommonTableExpr); ok {
				c.scope.addCTE(cte.GetCtename())
			}
		}
	}
	for _, n := range w.GetCtes() {
		cte, ok := ast.Unwrap(n).(*ast.CommonTableExpr)
		if !ok {
			c.mystery()
			continue
		}
		c.statement(ast.Unwrap(cte.GetCtequery()))
		if s := cte.GetCycleClause(); s != nil {
			c.expr(s.GetCycleMarkValue())
			c.expr(s.GetCycleMarkDefault())
		}
		if !w.GetRecursive() {
			c.scope.addCTE(cte.GetCtename())
		}
	}
}

// from reads a FROM list, each item in turn.
func (c *collector) from(list []*ast.Node) {
	for _, n := range list {
		c.fromItem(n)
	}
}

// fromItem reads one item of FROM and returns what it adds to the scope.
func (c *collector) fromItem(n *ast.Node) []item {
	switch m := ast.Unwrap(n).(type) {
	case *ast.RangeVar:
		return c.fromRelation(m)
	case *ast.RangeSubselect:
		if m.GetLateral() {
			c.subquery(m.GetSubquery())
		} else {
			c.push(true)
			c.subquery(m.GetSubquery())
			c.pop()
		}
		return c.derived(m.GetAlias())
	case *ast.RangeFunction:
		for _, f := range m.GetFunctions() {
			c.expr(f)
		}
		c.definitions(m.GetColdeflist())
		return c.derived(m.GetAlias())
	case *ast.RangeTableFunc:
		c.tableFunc(m)
		return c.derived(m.GetAlias())
	case *ast.RangeTableSample:
		items := c.fromItem(m.GetRelation())
		c.tableSample(m.GetMethod())
		c.exprs(m.GetArgs())
		c.expr(m.GetRepeatable())
		return items
	case *ast.JoinExpr:
		return c.join(m)
	}
	c.mystery()
	return nil
}

// derived adds an item that is not a relation.
func (c *collector) derived(a *ast.Alias) []item {
	it := item{name: a.GetAliasname()}
	c.scope.add(it)
	return []item{it}
}

func (c *collector) join(j *ast.JoinExpr) []item {
	items := append(c.fromItem(j.GetLarg()), c.fromItem(j.GetRarg())...)
	if j.GetIsNatural() { // compares columns that the text does not name
		c.readsOne(items, "")
	}
	for _, name := range stringList(j.GetUsingClause()) {
		c.readsOne(items, name)
	}
	c.expr(j.GetQuals())
	inside := items
	if len(inside) > maxInSight {
		inside = []item{{any: true}}
	}
	for _, a := range []*ast.Alias{j.GetJoinUsingAlias(), j.GetAlias()} {
		if a == nil {
			continue
		}
		for _, it := range inside {
			it.alias(a)
			c.scope.add(it)
			items = append(items, it)
		}
	}
	return items
}

// subquery reads a query in brackets.
func (c *collector) subquery(n *ast.Node) {
	s, ok := ast.Unwrap(n).(*ast.SelectStmt)
	if !ok {
		c.mystery()
		return
	}
	c.selectStmt(s)
}
