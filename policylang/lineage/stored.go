package lineage

import (
	"github.com/posternhq/postern/policylang/pgcatalog"
)

// storedCode is an expression that the server evaluates by itself when rows of
// a relation are written.
type storedCode struct {
	what string // for a refusal
	text string // as pg_get_expr prints it; a list of expressions is allowed
}

// onWrite lists the expressions that writing a row of a relation evaluates:
// CHECK constraints, generated columns, keys and predicates of indexes, and
// partition keys. Defaults are not among them, since a statement may name a value
// in their place.
func onWrite(r *pgcatalog.Relation) []storedCode {
	var out []storedCode
	add := func(what, text string) {
		if text != "" {
			out = append(out, storedCode{what + " of " + r.Name, text})
		}
	}
	for i := range r.Constraints {
		add("the CHECK constraint "+r.Constraints[i].Name, r.Constraints[i].Expression)
	}
	for i := range r.Columns {
		if c := &r.Columns[i]; c.Generated {
			add("the generated column "+c.Name, c.Default)
		}
	}
	for i := range r.Indexes {
		add("the index "+r.Indexes[i].Name, r.Indexes[i].Expressions)
		add("the index "+r.Indexes[i].Name, r.Indexes[i].Predicate)
	}
	add("the partition key", r.PartitionExpressions)
	return out
}

// writeOpaque returns what writing a row of a relation runs that cannot be
// read; empty if nothing.
func (p *Protection) writeOpaque(r *pgcatalog.Relation) string {
	if known, ok := p.writes.Load(r.OID); ok {
		what, _ := known.(string)
		return what
	}
	found := ""
	s := &scope{items: []*item{tableItem(r, p.namedColumns(r), r.Name)}}
	for _, code := range onWrite(r) {
		a := p.storedAnalyzer(nil)
		a.storedExpression("ROW("+code.text+")", s)
		if a.refusal != nil || a.tainted {
			found = code.what
			break
		}
	}
	p.writes.Store(r.OID, found)
	return found
}
