package lineage

import (
	"maps"
	"slices"
	"sync"

	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/policylang/pgcatalog"
)

// Protection is a set of masks bound to the columns of one catalog, with
// everything that follows: partitions and inheritance, foreign keys, generated
// columns, views and materialised views. It is safe for concurrent use; what a
// view reads is worked out when a statement first mentions it.
type Protection struct {
	cat     *pgcatalog.Catalog
	entries map[pgcatalog.ColumnID]*entry // protected columns
	derived map[pgcatalog.ColumnID]label  // generated columns computed from them
	bound   map[pgcatalog.ColumnID]*entry // columns that patterns name, or named before they were renamed
	drifted []pgcatalog.ColumnID          // of bound, those that no pattern names any more; sorted

	memo   sync.Map // relation OID -> *relation: relations as statements see them
	writes sync.Map // relation OID -> string: what writing a row runs that cannot be read
	bodies sync.Map // function OID -> []*statement.Node: SQL functions
	trust  sync.Map // qualified name -> *verdict: what functions and operators of it do
}

// entry is how a column is protected.
type entry struct {
	transforms []policylang.Transform // each once; all are combined at once
	policies   []string               // sorted

	predicates, order, group, count policylang.Knob
}

// absorb makes e as strict as o too, and reports whether that changed e.
func (e *entry) absorb(o *entry) bool {
	was := *e
	for _, t := range o.transforms {
		if !slices.Contains(e.transforms, t) {
			e.transforms = append(slices.Clip(e.transforms), t)
		}
	}
	e.policies = unite(e.policies, o.policies)
	e.predicates = stricter(e.predicates, o.predicates)
	e.order = stricter(e.order, o.order)
	e.group = stricter(e.group, o.group)
	e.count = stricter(e.count, o.count)
	return len(e.transforms) != len(was.transforms) || len(e.policies) != len(was.policies) ||
		e.predicates != was.predicates || e.order != was.order || e.group != was.group || e.count != was.count
}

// transform is the strictest of all that apply.
func (e *entry) transform() policylang.Transform { return policylang.Strictest(e.transforms...) }

func stricter(a, b policylang.Knob) policylang.Knob {
	switch {
	case a == policylang.KnobAllow:
		return b
	case b == policylang.KnobAllow:
		return a
	case a == policylang.KnobEquality && b == policylang.KnobEquality:
		return a
	}
	return policylang.KnobDeny
}

func unite(a, b []string) []string {
	out := slices.Concat(a, b)
	slices.Sort(out)
	return slices.Compact(out)
}

// Protect binds masks to the columns of a catalog. Masks that only observe are
// left out.
func Protect(cat *pgcatalog.Catalog, masks *policylang.MaskSet) *Protection {
	p := newProtection(cat)
	p.bindAll(masks)
	p.complete()
	return p
}

// Next is Protect for a later snapshot of the same database under the same
// masks: a column that was bound by its name stays protected when it, its table
// or its schema has been renamed, and what has the name now is protected, too.
// [Protection.Drifted] lists such columns.
func (p *Protection) Next(cat *pgcatalog.Catalog, masks *policylang.MaskSet) *Protection {
	next := newProtection(cat)
	next.bindAll(masks)
	for id, e := range p.bound {
		r := cat.Relation(id.Relation)
		if r == nil || r.Column(id.Column) == nil || next.bound[id] != nil {
			continue
		}
		next.bound[id] = e
		next.protect(id, e)
		next.drifted = append(next.drifted, id)
	}
	slices.SortFunc(next.drifted, pgcatalog.ColumnID.Compare)
	next.complete()
	return next
}

// Drifted lists the columns that are protected though no pattern names them any
// more, sorted: the policy should be mended.
func (p *Protection) Drifted() []pgcatalog.ColumnID { return slices.Clone(p.drifted) }

func newProtection(cat *pgcatalog.Catalog) *Protection {
	return &Protection{
		cat:     cat,
		entries: map[pgcatalog.ColumnID]*entry{},
		derived: map[pgcatalog.ColumnID]label{},
		bound:   map[pgcatalog.ColumnID]*entry{},
	}
}

func (p *Protection) bindAll(masks *policylang.MaskSet) {
	if masks == nil || p.cat == nil {
		return
	}
	for i := range masks.Masks {
		p.bind(&masks.Masks[i])
	}
	for id, e := range p.entries {
		own := *e
		p.bound[id] = &own
	}
}

// complete adds what follows from the columns that are bound.
func (p *Protection) complete() {
	p.spread()
	p.deriveGenerated()
	p.bindViews()
}

// Empty reports whether nothing is protected: then every statement passes as
// it is and Analyze need not be asked.
func (p *Protection) Empty() bool { return len(p.entries) == 0 }

// Transform returns how values of a column are changed, and whether they are at
// all: what the result stream's own origin (table OID and attribute number)
// is checked against. Values computed from protected columns are redacted. A
// whole row (number 0) of a relation with a protected column is, too.
func (p *Protection) Transform(rel uint32, attnum int16) (policylang.Transform, bool) {
	if p.Empty() {
		return policylang.Transform{}, false
	}
	r := p.cat.Relation(rel)
	if r == nil {
		return policylang.Transform{}, false
	}
	l := p.columnLabel(r, attnum)
	if l.bottom() {
		return policylang.Transform{}, false
	}
	if t, ok := p.shown(l); ok {
		return t, true
	}
	return policylang.Transform{Kind: policylang.TransformRedact}, true
}

// ProtectsType reports whether a type is that of rows, or arrays of rows, of a
// relation with a protected column.
func (p *Protection) ProtectsType(oid uint32) bool {
	t := p.cat.Type(p.cat.BaseType(oid))
	if t != nil && t.Element != 0 {
		t = p.cat.Type(t.Element)
	}
	if t == nil || t.Relation == 0 {
		return false
	}
	r := p.cat.Relation(t.Relation)
	return r != nil && p.relation(r, nil).protected
}

func (p *Protection) columnLabel(r *pgcatalog.Relation, attnum int16) label {
	seen := p.relation(r, nil)
	if attnum == 0 {
		return labels(seen.columns).derive()
	}
	for i := range seen.columns {
		if seen.columns[i].id.Column == attnum {
			return seen.columns[i].label
		}
	}
	return label{}
}

// Names reports whether a relation of that name, in any schema, has a protected
// column.
func (p *Protection) Names(relation string) bool {
	for id := range p.entries {
		if r := p.cat.Relation(id.Relation); r == nil || r.Name == relation {
			return true
		}
	}
	return false
}

// Columns returns every protected column of tables, and of views that a policy
// names, sorted. What other views derive from them is not listed.
func (p *Protection) Columns() []pgcatalog.ColumnID {
	return slices.SortedFunc(maps.Keys(p.entries), pgcatalog.ColumnID.Compare)
}

// shown returns the transform that a value labelled l is shown through: the
// value must be, unchanged, that of a column, and if of several, all must be
// masked alike.
func (p *Protection) shown(l label) (policylang.Transform, bool) {
	if l.bottom() || l.derived || l.all {
		return policylang.Transform{}, false
	}
	if !p.alike(l.columns, l.columns[0]) {
		return policylang.Transform{}, false
	}
	return p.entries[l.columns[0]].transform(), true
}

// alike reports whether a column is protected as each of the others is.
func (p *Protection) alike(columns []pgcatalog.ColumnID, id pgcatalog.ColumnID) bool {
	e := p.entries[id]
	if e == nil {
		return false
	}
	for _, other := range columns {
		o := p.entries[other]
		if o == nil || o.transform() != e.transform() || !slices.Equal(o.policies, e.policies) {
			return false
		}
	}
	return true
}

// policies returns the names of the policies that protect any of the columns.
func (p *Protection) policies(columns []pgcatalog.ColumnID) []string {
	var names []string
	for _, id := range columns {
		switch e := p.entries[id]; {
		case e == nil:
		case names == nil:
			names = e.policies
		default:
			names = unite(names, e.policies)
		}
	}
	return names
}

// knob returns what the policies of a column say about a use of it.
func (p *Protection) knob(id pgcatalog.ColumnID, u use) policylang.Knob {
	e := p.entries[id]
	if e == nil {
		return policylang.KnobDeny
	}
	switch u {
	case useOrder:
		return e.order
	case useGroup:
		return e.group
	case usePredicate, useFallible:
	}
	return e.predicates
}
