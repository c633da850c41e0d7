package lineage

import (
	"slices"

	"github.com/posternhq/postern/policylang/pgcatalog"
)

// label says which protected values a value depends on. The zero label is
// bottom: none. Labels are immutable and share their columns.
//
// A label that is not derived is direct: the value is, unchanged, the value of
// one of the columns. It may then be shown through their mask. A derived value
// is computed from them and is never shown. A label with all set depends on
// things that cannot be known.
//
// A label with definition set, too, depends on nothing but the text of a
// definition in the system catalogs. That does not change with any value, but
// may quote some: it is not shown, yet may order and group.
type label struct {
	columns    []pgcatalog.ColumnID // protected columns, sorted, distinct
	derived    bool
	all        bool
	definition bool
}

// everything is the label of what an opaque computation returns.
func everything() label { return label{derived: true, all: true} }

// definitionText is the label of the text of a definition.
func definitionText() label { return label{derived: true, all: true, definition: true} }

func direct(id pgcatalog.ColumnID) label {
	return label{columns: []pgcatalog.ColumnID{id}}
}

func (l label) bottom() bool { return len(l.columns) == 0 && !l.all }

// derive returns the label of a value computed from one labelled l.
func (l label) derive() label {
	if l.bottom() {
		return l
	}
	l.derived = true
	return l
}

// join returns the label of a value that is one of two: as in the arms of a
// UNION. Joining with bottom leaves a label direct.
func join(a, b label) label {
	switch {
	case a.bottom():
		return b
	case b.bottom():
		return a
	}
	return label{
		columns: union(a.columns, b.columns),
		derived: a.derived || b.derived,
		all:     a.all || b.all,

		definition: a.definition && b.definition,
	}
}

// union merges two sorted sets, returning one of them if it holds the other.
func union(a, b []pgcatalog.ColumnID) []pgcatalog.ColumnID {
	switch {
	case len(b) == 0 || slices.Equal(a, b):
		return a
	case len(a) == 0:
		return b
	}
	out := make([]pgcatalog.ColumnID, 0, len(a)+len(b))
	i, j := 0, 0
	for i < len(a) || j < len(b) {
		switch {
		case j == len(b) || (i < len(a) && a[i].Compare(b[j]) < 0):
			out = append(out, a[i])
			i++
		case i == len(a) || a[i].Compare(b[j]) > 0:
			out = append(out, b[j])
			j++
		default:
			out = append(out, a[i])
			i, j = i+1, j+1
		}
	}
	if len(out) == len(a) {
		return a
	}
	return out
}

func (l label) equal(m label) bool {
	return l.derived == m.derived && l.all == m.all && l.definition == m.definition && slices.Equal(l.columns, m.columns)
}

// value is what is known of an expression's value.
type value struct {
	label  label
	typ    uint32   // type OID; 0 if unknown
	fields []column // of a row whose columns are known; nil otherwise
	risky  bool     // evaluating it may fail, or has an effect

	traits
}

// plain is a value of a known type that depends on nothing protected.
func plain(typ uint32) value { return value{typ: typ} }

// computed returns a value made out of v: it is derived and no longer a row.
func (v value) computed(typ uint32) value {
	return value{label: v.label.derive(), typ: typ, risky: v.risky, traits: v.traits}
}

// with returns the value made out of both v and w.
func (v value) with(w value) value {
	return value{label: join(v.label, w.label).derive(), risky: v.risky || w.risky, traits: v.traits.with(w.traits)}
}

// column is a column of a query, or of an item of FROM.
type column struct {
	name   string
	typ    uint32 // 0 if unknown
	label  label
	fields []column // of a row value whose columns are known

	id     pgcatalog.ColumnID   // of a relation's column; zero otherwise
	others []pgcatalog.ColumnID // columns that USING merged into it

	traits
}

func (c *column) value() value {
	v := value{label: c.label, typ: c.typ, fields: c.fields, traits: c.traits}
	v.fixed = false
	return v
}

// column is the value as a column of that name.
func (v value) column(name string) column {
	return column{name: name, typ: v.typ, label: v.label, fields: v.fields, traits: v.traits}
}

// labels joins the labels of columns.
func labels(columns []column) label {
	var l label
	for i := range columns {
		l = join(l, columns[i].label)
	}
	return l
}

// settle gives the columns of a sub-select their types for good.
func settle(columns []column) []column {
	for i := range columns {
		columns[i].typ = settled(columns[i].typ)
	}
	return columns
}

// settled is the type of a value once its query is complete: a literal of
// unknown type is text.
func settled(typ uint32) uint32 {
	if typ == typeUnknown {
		return typeText
	}
	return typ
}
