package lineage

import (
	"slices"

	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/policylang/internal/ast"
	"github.com/posternhq/postern/policylang/pgcatalog"
)

// destination is the table or view that a statement writes to.
type destination struct {
	seen     *relation
	item     *item
	assigned []int16 // numbers of the columns that are written
}

// target finds what a statement writes to, and checks what writing there runs.
// A WITH query is never written to.
func (a *analyzer) target(n *ast.RangeVar, verb policylang.Verb) *destination {
	r := a.findRelation(n)
	if r == nil {
		return nil
	}
	if pgcatalog.IsSystemSchema(r.Schema) {
		a.refuse(CodeServer, n.Location, "", "system catalogs may not be changed while values are masked for you")
		return nil
	}
	seen := a.see(r, n.Location)
	a.affect(r, verb, n.Location, map[effect]bool{})
	d := &destination{seen: seen, item: tableItem(r, seen.columns, r.Name)}
	setAlias(d.item, n.Alias)
	return d
}

// effect is one of the things that a write does.
type effect struct {
	relation uint32
	verb     policylang.Verb
}

// affect checks what a write runs: rules and triggers of its target, of what is
// below a view, of partitions and children, and of tables that a foreign key
// changes with it.
func (a *analyzer) affect(r *pgcatalog.Relation, verb policylang.Verb, location int32, done map[effect]bool) {
	e := effect{r.OID, verb}
	if done[e] || !a.spend(1) {
		return
	}
	done[e] = true
	seen := a.prot.relation(r, a.building)
	if seen.protected || seen.tainted {
		a.tainted = true // errors print whole rows
	}
	if r.Kind == pgcatalog.RelationForeign {
		a.opaque(location, "the server behind foreign table "+r.Name)
	}
	for i := range r.Rules {
		if r.Rules[i].Event == verb {
			a.opaque(location, "rule "+r.Rules[i].Name+" on "+r.Name)
		}
	}
	if verb == policylang.VerbInsert || verb == policylang.VerbUpdate {
		if what := a.prot.writeOpaque(r); what != "" {
			a.opaque(location, what)
		}
	}
	instead := a.triggers(r, verb, location)
	if r.Kind == pgcatalog.RelationView && !instead {
		if seen.base == nil {
			a.unsupported(nil, "writing through this view")
			return
		}
		a.affect(seen.base, verb, location, done)
	}
	for _, oid := range r.Children {
		child := a.cat.Relation(oid)
		if child == nil {
			continue
		}
		a.affect(child, verb, location, done)
		if verb == policylang.VerbUpdate && child.Partition { // a row may move to another
			a.affect(child, policylang.VerbDelete, location, done)
			a.affect(child, policylang.VerbInsert, location, done)
		}
	}
	for _, next := range cascades(a.cat, r, verb) {
		a.affect(a.cat.Relation(next.relation), next.verb, location, done)
	}
}

// triggers checks the triggers that a write fires, and reports whether one of
// them takes its place.
func (a *analyzer) triggers(r *pgcatalog.Relation, verb policylang.Verb, location int32) (instead bool) {
	bits := map[policylang.Verb]int16{
		policylang.VerbInsert:   pgcatalog.TriggerInsert,
		policylang.VerbUpdate:   pgcatalog.TriggerUpdate,
		policylang.VerbDelete:   pgcatalog.TriggerDelete,
		policylang.VerbTruncate: pgcatalog.TriggerTruncate,
	}[verb]
	for i := range r.Triggers {
		t := &r.Triggers[i]
		if t.Disabled || t.Bits&bits == 0 {
			continue
		}
		instead = instead || t.Bits&pgcatalog.TriggerInstead != 0
		if f := a.cat.Function(t.Function); f == nil || !a.triggerTrusted(r, f) {
			a.opaque(location, "trigger "+t.Name+" on "+r.Name)
		}
	}
	return instead
}

// cascades lists what foreign keys change when rows of a table are deleted,
// updated or truncated.
func cascades(cat *pgcatalog.Catalog, r *pgcatalog.Relation, verb policylang.Verb) []effect {
	var out []effect
	for _, ref := range cat.References(r.OID) {
		switch {
		case verb == policylang.VerbDelete && ref.Constraint.OnDelete == pgcatalog.ActionCascade:
			out = append(out, effect{ref.Relation.OID, policylang.VerbDelete})
		case verb == policylang.VerbDelete && ref.Constraint.OnDelete.Changes(),
			verb == policylang.VerbUpdate && ref.Constraint.OnUpdate.Changes():
			out = append(out, effect{ref.Relation.OID, policylang.VerbUpdate})
		}
	}
	return out
}

// assign follows the assignment of a value to a column: what is protected may
// only be stored in the very column that it came from, unchanged.
func (a *analyzer) assign(d *destination, name string, v value, location int32) {
	c := d.column(name)
	if c == nil {
		a.undefined(undefinedColumn, location, "", "column %q of relation %q does not exist", name, d.seen.rel.Name)
		return
	}
	d.assigned = append(d.assigned, c.id.Column)
	a.checkType(c, location)
	l := v.label
	if l.bottom() || a.stored {
		return
	}
	if !l.derived && !l.all && a.sameProtection(c, l.columns) {
		return
	}
	a.refuse(CodeLaundering, location, "Write a value that does not come from masked columns, or ask to be exempted from the policy.",
		"%s and may not be stored in %s.%s", a.describe(l), d.seen.rel.Name, name)
}

// sameProtection reports whether values of columns may be stored in c as they
// are: c is one of them, or of the same type and protected alike, so that what
// is shown of a value stays the same.
func (a *analyzer) sameProtection(c *column, columns []pgcatalog.ColumnID) bool {
	if c.label.derived || c.label.bottom() {
		return false
	}
	if len(union(c.label.columns, columns)) == len(c.label.columns) {
		return true
	}
	typ, modifier := a.columnType(c.id)
	for _, id := range columns {
		if t, m := a.columnType(id); t != typ || m != modifier || !a.prot.alike(c.label.columns, id) {
			return false
		}
	}
	return true
}

func (a *analyzer) columnType(id pgcatalog.ColumnID) (typ uint32, modifier int32) {
	if r := a.cat.Relation(id.Relation); r != nil {
		if c := r.Column(id.Column); c != nil {
			return c.Type, c.Modifier
		}
	}
	return 0, 0
}

// checkType refuses to store into a column whose type runs opaque code.
func (a *analyzer) checkType(c *column, location int32) {
	if t := a.cat.Type(c.typ); t != nil && !a.typeTrusted(t, 0) {
		a.opaque(location, "type "+t.Name)
	}
}

func (d *destination) column(name string) *column {
	for i := range d.seen.columns {
		if d.seen.columns[i].name == name {
			return &d.seen.columns[i]
		}
	}
	return nil
}

// defaultOf follows the default of a relation's column, and of the column that
// a view's stands for.
func (a *analyzer) defaultOf(r *pgcatalog.Relation, number int16, location int32) value {
	c := r.Column(number)
	if c == nil || c.Generated || c.Default == "" {
		if seen := a.prot.relation(r, a.building); r.Kind == pgcatalog.RelationView && seen.base != nil && c != nil {
			if base := seen.base.ColumnNamed(c.Name); base != nil {
				return a.defaultOf(seen.base, base.Number, location)
			}
		}
		return value{}
	}
	b := a.prot.storedAnalyzer(nil)
	v := b.storedExpression(c.Default, nil)
	if b.refusal != nil || b.tainted {
		a.opaque(location, "the default of "+r.Name+"."+c.Name)
		v.label = everything()
	}
	return v
}

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
			a.assign(d, name, sources[i].value(), locateAt(n.Cols, i))
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

// assigned follows an expression that is assigned, which may be DEFAULT.
func (a *analyzer) assigned(n *ast.Node, d *destination, name string, s *scope) value {
	if _, ok := ast.Unwrap(n).(*ast.SetToDefault); ok {
		if c := d.column(name); c != nil {
			return a.defaultOf(d.seen.rel, c.id.Column, locate(n))
		}
		return value{}
	}
	return a.expr(n, s)
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

// checks refuses an UPDATE that writes one column of a CHECK constraint and
// leaves a protected one: whether it fails would tell about that.
func (a *analyzer) checks(d *destination) {
	for i := range d.seen.rel.Constraints {
		k := &d.seen.rel.Constraints[i]
		if k.Kind != pgcatalog.ConstraintCheck || !slices.ContainsFunc(k.Columns, func(n int16) bool { return slices.Contains(d.assigned, n) }) {
			continue
		}
		for c := range d.seen.columns {
			if n := d.seen.columns[c].id.Column; slices.Contains(k.Columns, n) && !slices.Contains(d.assigned, n) {
				a.control(d.seen.columns[c].label, usePredicate, "the CHECK constraint "+k.Name, -1)
			}
		}
	}
}

// computes refuses an UPDATE that writes one column of a stored expression (a
// generated column, the key or predicate of an index) that may fail, and
// leaves a protected one.
func (a *analyzer) computes(d *destination) {
	if a.stored || !d.seen.protected {
		return
	}
	for _, code := range onWrite(d.seen.rel) {
		b := a.prot.storedAnalyzer(nil)
		b.storedExpression("ROW("+code.text+")", &scope{items: []*item{tableItem(d.seen.rel, a.prot.plainColumns(d.seen.rel), d.seen.rel.Name)}})
		if b.risks == 0 && b.refusal == nil {
			continue
		}
		written, left := false, label{}
		for _, id := range b.touchedColumns() {
			if slices.Contains(d.assigned, id.Column) {
				written = true
			} else if c := d.columnNumbered(id.Column); c != nil {
				left = join(left, c.label)
			}
		}
		if written {
			a.control(left, usePredicate, code.what, -1)
		}
	}
}

func (d *destination) columnNumbered(number int16) *column {
	for i := range d.seen.columns {
		if d.seen.columns[i].id.Column == number {
			return &d.seen.columns[i]
		}
	}
	return nil
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
