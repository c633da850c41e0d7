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
