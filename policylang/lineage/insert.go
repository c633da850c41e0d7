package lineage

import (
	"slices"

	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/policylang/internal/ast"
	"github.com/posternhq/postern/policylang/pgcatalog"
)

// insert follows INSERT and returns the columns of RETURNING.
func (a *analyzer) insert(n *ast.InsertStmt, outer *scope) []column {
	with := a.with(n.WithClause, outer)
	d := a.target(n.Relation, policylang.VerbInsert)
	if d == nil {
		return nil
	}
	names, firm := a.insertNames(n, d)
	sources := a.insertSources(n, d, names, with)
	if a.refusal != nil {
		return nil
	}
	if !firm {
		names = names[:min(len(sources), len(names))]
	}
	for i, name := range names {
		if i < len(sources) {
			at := locateAt(n.Cols, i)
			if query, ok := ast.Unwrap(n.SelectStmt).(*ast.SelectStmt); ok && at < 0 {
				at = itemAt(query, len(sources), i)
			}
			a.assign(d, name, sources[i].value(), at)
		}
	}
	for i := range d.seen.columns {
		if name := d.seen.columns[i].name; !slices.Contains(names, name) {
			a.defaultOf(d.seen.rel, d.seen.columns[i].id.Column, n.Relation.Location)
		}
	}
	a.onConflict(n.OnConflictClause, d, names, sources, with)
	return a.returning(n.ReturningList, &scope{parent: with, items: []*item{d.item}}, d)
}

// insertNames lists the columns that INSERT writes, in the order of its values.
// Without a list of columns there may be more of them than values.
func (a *analyzer) insertNames(n *ast.InsertStmt, d *destination) (names []string, firm bool) {
	if len(n.Cols) == 0 {
		for i := range d.seen.columns {
			names = append(names, d.seen.columns[i].name)
		}
		return names, false
	}
	for _, c := range n.Cols {
		t, ok := ast.Unwrap(c).(*ast.ResTarget)
		if !ok {
			a.unsupported(ast.Unwrap(c), "this column list")
			return nil, true
		}
		names = append(names, t.Name)
	}
	return names, true
}

func locateAt(list []*ast.Node, i int) int32 {
	if i < len(list) {
		return locate(list[i])
	}
	return -1
}

// insertSources follows what INSERT writes. DEFAULT may stand in VALUES only.
func (a *analyzer) insertSources(n *ast.InsertStmt, d *destination, names []string, with *scope) []column {
	if n.SelectStmt == nil {
		return nil
	}
	s, ok := ast.Unwrap(n.SelectStmt).(*ast.SelectStmt)
	if !ok || len(s.ValuesLists) == 0 || s.WithClause != nil || len(s.SortClause) > 0 || s.LimitCount != nil || s.LimitOffset != nil {
		out := a.query(n.SelectStmt, with, nil)
		a.arity(out, names)
		return out
	}
	var out []column
	for i, row := range s.ValuesLists {
		list, ok := ast.Unwrap(row).(*ast.List)
		if !ok {
			a.unsupported(ast.Unwrap(row), "this VALUES list")
			return nil
		}
		columns := make([]column, len(list.Items))
		a.arity(columns, names)
		if a.refusal != nil {
			return nil
		}
		for j, item := range list.Items {
			v := a.assigned(item, d, names[j], &scope{parent: with})
			columns[j] = v.column(valuesName(j))
		}
		if i == 0 {
			out = columns
		} else {
			out = a.arms(out, columns)
		}
	}
	return out
}

// arity refuses more values than columns.
func (a *analyzer) arity(sources []column, names []string) {
	if len(sources) > len(names) {
		a.refuse(CodeUnknown, -1, "", "INSERT has more expressions than target columns, as far as is known")
	}
}

// onConflict follows ON CONFLICT: whether a row is there already is told by
// what happens.
func (a *analyzer) onConflict(n *ast.OnConflictClause, d *destination, names []string, sources []column, with *scope) {
	if n == nil {
		return
	}
	own := &scope{parent: with, items: []*item{d.item}}
	a.arbiter(n, d, names, own)
	if n.Action != onConflictUpdate {
		return
	}
	a.affect(d.seen.rel, policylang.VerbUpdate, -1, map[effect]bool{})
	excluded := tableItem(d.seen.rel, slices.Clone(d.seen.columns), "excluded")
	excluded.renamed = true
	for i, name := range names {
		for c := range excluded.columns {
			if i < len(sources) && excluded.columns[c].name == name {
				excluded.columns[c].label = join(excluded.columns[c].label, sources[i].label)
			}
		}
	}
	s := &scope{parent: with, items: []*item{d.item, excluded}}
	d.assigned = nil
	a.set(n.TargetList, d, s)
	a.where(n.WhereClause, s, "WHERE of ON CONFLICT")
}

// arbiter follows the part of ON CONFLICT that says which conflicts are meant.
func (a *analyzer) arbiter(n *ast.OnConflictClause, d *destination, names []string, s *scope) {
	const clause = "ON CONFLICT"
	if n.Infer == nil || n.Infer.Conname != "" {
		a.control(a.uniqueLabel(d, n.Infer.GetConname(), names), usePredicate, clause, -1)
		return
	}
	for _, e := range n.Infer.IndexElems {
		elem, ok := ast.Unwrap(e).(*ast.IndexElem)
		switch {
		case !ok:
			a.unsupported(ast.Unwrap(e), "this ON CONFLICT")
		case elem.Name != "":
			if c := d.column(elem.Name); c != nil {
				a.control(a.read(c).label, usePredicate, clause, n.Location)
			}
		default:
			a.control(a.expr(elem.Expr, s).label, usePredicate, clause, n.Location)
		}
	}
	a.predicate(n.Infer.WhereClause, s, clause)
}

// uniqueLabel joins what decides whether a row conflicts with another: the
// written keys of unique indexes and exclusion constraints, all of them or the
// one of that name. A name that is not known may be any.
func (a *analyzer) uniqueLabel(d *destination, name string, names []string) label {
	var one, all label
	known := false
	r := d.seen.rel
	add := func(own string, l label) {
		all = join(all, l)
		if own == name {
			one, known = join(one, l), true
		}
	}
	for i := range r.Indexes {
		if x := &r.Indexes[i]; x.Unique {
			a.touchKeys(r, x.Columns)
			add(x.Name, keyLabel(d, x.Columns, x.Predicate != "", names))
		}
	}
	for i := range r.Constraints {
		switch k := &r.Constraints[i]; k.Kind {
		case pgcatalog.ConstraintUnique, pgcatalog.ConstraintPrimary:
			a.touchKeys(r, k.Columns)
			add(k.Name, keyLabel(d, k.Columns, false, names))
		case pgcatalog.ConstraintExclusion:
			a.touchKeys(r, k.Columns)
			add(k.Name, keyLabel(d, k.Columns, true, names))
		case pgcatalog.ConstraintCheck, pgcatalog.ConstraintForeign:
		}
	}
	if known {
		return one
	}
	return all
}

// touchKeys notes that the keys of a relation are read.
func (a *analyzer) touchKeys(r *pgcatalog.Relation, keys []int16) {
	for _, k := range keys {
		a.touch(pgcatalog.ColumnID{Relation: r.OID, Column: k})
	}
}

// keyLabel joins the labels of keys that are written. A key that is an
// expression may be of any column that is written; a predicate of any column.
func keyLabel(d *destination, keys []int16, predicate bool, names []string) label {
	var l label
	for i := range d.seen.columns {
		c := &d.seen.columns[i]
		written := slices.Contains(names, c.name)
		if predicate || (written && (slices.Contains(keys, c.id.Column) || slices.Contains(keys, 0))) {
			l = join(l, c.label)
		}
	}
	return l
}
