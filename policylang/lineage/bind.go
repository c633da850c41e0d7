package lineage

import (
	"slices"

	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/policylang/pgcatalog"
)

// bind enters the columns that a mask's patterns name. Patterns that leave the
// schema open do not reach the server's own schemas.
func (p *Protection) bind(m *policylang.Mask) {
	if m.Observe {
		return
	}
	for _, pattern := range m.Columns {
		glob, err := policylang.ParseGlob(pattern, 3)
		if err != nil {
			continue // the policy was validated: cannot happen
		}
		schema, oneSchema := glob.Literal(0)
		name, oneName := glob.Literal(1)
		if oneSchema && oneName {
			if r := p.cat.RelationNamed(schema, name); r != nil {
				p.bindColumns(r, glob, m)
			}
			continue
		}
		for r := range p.cat.Relations() {
			if oneSchema || !pgcatalog.IsSystemSchema(r.Schema) {
				p.bindColumns(r, glob, m)
			}
		}
	}
}

func (p *Protection) bindColumns(r *pgcatalog.Relation, glob policylang.Glob, m *policylang.Mask) {
	if r.Kind == pgcatalog.RelationSequence || r.Kind == pgcatalog.RelationComposite {
		return
	}
	name, one := glob.Literal(2)
	for i := range r.Columns {
		c := &r.Columns[i]
		if (one && c.Name != name) || !glob.Match(true, r.Schema, r.Name, c.Name) {
			continue
		}
		p.protect(pgcatalog.ColumnID{Relation: r.OID, Column: c.Number}, &entry{
			transforms: []policylang.Transform{m.Transform},
			policies:   []string{m.Policy},
			predicates: m.Predicates,
			order:      m.Order,
			group:      m.Group,
			count:      m.Count,
		})
	}
}

// protect enters a column, or makes its entry as strict as e too. It reports
// whether that changed anything.
func (p *Protection) protect(id pgcatalog.ColumnID, e *entry) bool {
	if have := p.entries[id]; have != nil {
		return have.absorb(e)
	}
	own := *e
	p.entries[id] = &own
	return true
}

// spread protects the columns that hold the same values as a protected one:
// the same column of parents and children, and columns whose foreign key
// refers to it. It runs until nothing changes; entries only grow stricter.
func (p *Protection) spread() {
	work := p.Columns()
	for len(work) > 0 {
		id := work[len(work)-1]
		work = work[:len(work)-1]
		e := *p.entries[id]
		for _, next := range p.sameValues(id) {
			if p.protect(next, &e) {
				work = append(work, next)
			}
		}
	}
}

func (p *Protection) sameValues(id pgcatalog.ColumnID) []pgcatalog.ColumnID {
	r := p.cat.Relation(id.Relation)
	c := r.Column(id.Column)
	var out []pgcatalog.ColumnID
	for _, oid := range slices.Concat(r.Parents, r.Children) {
		kin := p.cat.Relation(oid)
		if kin == nil {
			continue
		}
		if k := kin.ColumnNamed(c.Name); k != nil {
			out = append(out, pgcatalog.ColumnID{Relation: oid, Column: k.Number})
		}
	}
	for _, ref := range p.cat.References(id.Relation) {
		i := slices.Index(ref.Constraint.ForeignColumns, id.Column)
		if i >= 0 && i < len(ref.Constraint.Columns) {
			out = append(out, pgcatalog.ColumnID{Relation: ref.Relation.OID, Column: ref.Constraint.Columns[i]})
		}
	}
	return out
}

// deriveGenerated labels generated columns that are computed from protected
// ones. A generated column never depends on another.
func (p *Protection) deriveGenerated() {
	done := map[uint32]bool{}
	for _, id := range p.Columns() {
		if done[id.Relation] {
			continue
		}
		done[id.Relation] = true
		r := p.cat.Relation(id.Relation)
		for i := range r.Columns {
			c := &r.Columns[i]
			if !c.Generated {
				continue
			}
			a := p.storedAnalyzer(nil)
			v := a.storedExpression(c.Default, &scope{items: []*item{tableItem(r, p.plainColumns(r), r.Name)}})
			if a.refusal != nil {
				v.label = everything()
			}
			if !v.label.bottom() {
				p.derived[pgcatalog.ColumnID{Relation: r.OID, Column: c.Number}] = v.label.derive()
			}
		}
	}
}

// bindViews works out the views that a policy names, whose columns are
// protected both by it and by what they show.
func (p *Protection) bindViews() {
	for _, id := range p.Columns() {
		if r := p.cat.Relation(id.Relation); r.HasDefinition() {
			p.relation(r, nil)
		}
	}
}
