package lineage

import (
	"slices"

	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/policylang/internal/ast"
)

// set follows the assignments of UPDATE.
func (a *analyzer) set(list []*ast.Node, d *destination, s *scope) {
	for _, n := range list {
		t, ok := ast.Unwrap(n).(*ast.ResTarget)
		if !ok {
			a.unsupported(ast.Unwrap(n), "this assignment")
			return
		}
		v := a.assigned(t.Val, d, t.Name, s)
		if len(t.Indirection) > 0 {
			for _, i := range t.Indirection {
				if x, ok := ast.Unwrap(i).(*ast.A_Indices); ok {
					v = v.with(a.expr(x.Lidx, s)).with(a.expr(x.Uidx, s))
				}
			}
			v.label = v.label.derive()
		}
		a.assign(d, t.Name, v, t.Location)
	}
	a.checks(d)
	a.computes(d)
}

// update follows UPDATE and returns the columns of RETURNING.
func (a *analyzer) update(n *ast.UpdateStmt, outer *scope) []column {
	s := &scope{parent: a.with(n.WithClause, outer)}
	d := a.target(n.Relation, policylang.VerbUpdate)
	if d == nil {
		return nil
	}
	a.withTarget(d, n.FromClause, s)
	a.where(n.WhereClause, s, "WHERE")
	a.set(n.TargetList, d, s)
	return a.returning(n.ReturningList, s, d)
}

// withTarget adds what is written to and then FROM or USING to a scope. LATERAL
// items do not see the target.
func (a *analyzer) withTarget(d *destination, from []*ast.Node, s *scope) {
	d.item.lateralOnly, d.item.lateralOK = true, false
	s.items = []*item{d.item}
	a.from(from, s)
	setLateral(s.items, false, true)
}

// delete follows DELETE and returns the columns of RETURNING.
func (a *analyzer) delete(n *ast.DeleteStmt, outer *scope) []column {
	s := &scope{parent: a.with(n.WithClause, outer)}
	d := a.target(n.Relation, policylang.VerbDelete)
	if d == nil {
		return nil
	}
	a.withTarget(d, n.UsingClause, s)
	a.where(n.WhereClause, s, "WHERE")
	return a.returning(n.ReturningList, s, d)
}

// returning follows RETURNING. Since PostgreSQL 18 it has old and new rows.
func (a *analyzer) returning(list []*ast.Node, s *scope, d *destination) []column {
	if len(list) == 0 {
		return nil
	}
	if a.cat.ServerVersion >= 180000 {
		for _, name := range []string{"old", "new"} {
			if !slices.ContainsFunc(s.items, func(i *item) bool { return i.alias == name }) {
				row := tableItem(d.seen.rel, d.seen.columns, name)
				row.renamed, row.bare = true, false
				s.items = append(s.items, row)
			}
		}
	}
	return columnsOf(a.targetList(list, s))
}

// merge follows MERGE.
func (a *analyzer) merge(n *ast.MergeStmt, outer *scope) []column {
	s := &scope{parent: a.with(n.WithClause, outer)}
	d := a.target(n.Relation, policylang.VerbUpdate)
	if d == nil {
		return nil
	}
	a.withTarget(d, []*ast.Node{n.SourceRelation}, s)
	a.predicate(n.JoinCondition, s, "MERGE … ON")
	source := &scope{parent: s.parent, items: s.items[1:]}
	for _, w := range n.MergeWhenClauses {
		when, ok := ast.Unwrap(w).(*ast.MergeWhenClause)
		if !ok {
			a.unsupported(ast.Unwrap(w), "this MERGE")
			return nil
		}
		in := s
		if !when.Matched {
			in = source
		}
		a.predicate(when.Condition, in, "MERGE … WHEN")
		a.mergeAction(when, d, in)
	}
	return nil
}

func (a *analyzer) mergeAction(n *ast.MergeWhenClause, d *destination, s *scope) {
	switch n.CommandType {
	case commandNothing:
	case commandDelete:
		a.affect(d.seen.rel, policylang.VerbDelete, -1, map[effect]bool{})
	case commandUpdate:
		d.assigned = nil
		a.set(n.TargetList, d, s)
	case commandInsert:
		a.affect(d.seen.rel, policylang.VerbInsert, -1, map[effect]bool{})
		names, _ := a.insertNames(&ast.InsertStmt{Cols: n.TargetList}, d)
		a.arity(make([]column, len(n.Values)), names)
		for i, v := range n.Values {
			if a.refusal == nil {
				a.assign(d, names[i], a.assigned(v, d, names[i], s), locate(v))
			}
		}
		for i := range d.seen.columns {
			if i >= len(n.Values) || !slices.Contains(names[:len(n.Values)], d.seen.columns[i].name) {
				a.defaultOf(d.seen.rel, d.seen.columns[i].id.Column, -1)
			}
		}
	default:
		a.unsupported(n, "this MERGE")
	}
}
