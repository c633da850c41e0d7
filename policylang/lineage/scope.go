package lineage

import (
	"slices"

	"github.com/posternhq/postern/policylang/pgcatalog"
)

// scope is what names in one query mean: its FROM items and WITH queries, and
// through parent those of the queries around it. It mirrors the name spaces of
// PostgreSQL's parse_relation.c.
type scope struct {
	parent  *scope
	items   []*item
	lateral bool // items marked lateralOnly may be referred to at the moment
	ctes    []*cte
	params  []column // $1, $2 … in the body of an SQL function
}

// item is an entry of a name space: a table, sub-select, function or join.
type item struct {
	alias   string // the name that qualifies columns; "" if none does
	rel     *pgcatalog.Relation
	renamed bool // has an alias of its own: schema.table does not mean it
	columns []column

	named       bool // its alias may be referred to
	bare        bool // its columns may be referred to without qualification
	lateralOnly bool // visible to LATERAL items only
	lateralOK   bool // and legal there
}

// tableItem is a relation's item under a name.
func tableItem(r *pgcatalog.Relation, columns []column, alias string) *item {
	return &item{alias: alias, rel: r, columns: columns, named: true, bare: true, lateralOK: true}
}

// hidden reports whether the item cannot be seen from the scope now.
func (i *item) hidden(s *scope) bool { return i.lateralOnly && !s.lateral }

// setLateral marks the items of a name space, as setNamespaceLateralState does.
func setLateral(items []*item, only, ok bool) {
	for _, i := range items {
		i.lateralOnly, i.lateralOK = only, ok
	}
}

// findColumn looks an unqualified column up, level by level. Two matches at one
// level are refused. The second result is nil if there is none.
func (a *analyzer) findColumn(s *scope, name string, location int32) (value, *item) {
	for ; s != nil; s = s.parent {
		var found *column
		var of *item
		for _, i := range s.items {
			if !i.bare || i.hidden(s) {
				continue
			}
			if !a.spend(len(i.columns)) {
				return value{}, nil
			}
			for c := range i.columns {
				if i.columns[c].name != name {
					continue
				}
				if found != nil {
					a.undefined(ambiguousColumn, location, "", "column reference %q is ambiguous", name)
					return value{}, of
				}
				found, of = &i.columns[c], i
			}
		}
		if found == nil {
			for _, i := range s.items {
				if i.bare && !i.hidden(s) && i.rel != nil && isSystemColumn(i.rel, name) {
					return a.systemColumn(i.rel, name), i
				}
			}
			continue
		}
		a.legalLateral(of, name, location)
		return a.read(found), of
	}
	return value{}, nil
}

// findItem looks a qualifying name up, level by level.
func (a *analyzer) findItem(s *scope, name string, location int32) *item {
	return a.findItemBy(s, name, location, func(i *item) bool { return i.alias == name })
}

// findTable looks up the item of a table that is named with its schema, which
// an item with an alias of its own is not.
func (a *analyzer) findTable(s *scope, rel *pgcatalog.Relation, location int32) *item {
	return a.findItemBy(s, rel.Name, location, func(i *item) bool { return !i.renamed && i.rel == rel })
}

func (a *analyzer) findItemBy(s *scope, name string, location int32, match func(*item) bool) *item {
	for ; s != nil; s = s.parent {
		if !a.spend(len(s.items)) {
			return nil
		}
		var found *item
		for _, i := range s.items {
			if !i.named || i.hidden(s) || !match(i) {
				continue
			}
			if found != nil {
				a.refuse(CodeAmbiguous, location, "Give each a different alias.", "table reference %q is ambiguous", name)
				return found
			}
			found = i
		}
		if found != nil {
			a.legalLateral(found, name, location)
			return found
		}
	}
	return nil
}

// legalLateral refuses references that the server would refuse.
func (a *analyzer) legalLateral(i *item, name string, location int32) {
	if i.lateralOnly && !i.lateralOK {
		a.refuse(CodeUnknown, location, "", "%q may not be referred to from this part of the query", name)
	}
}

// read is a reference to a column.
func (a *analyzer) read(c *column) value {
	a.touch(c.id)
	for _, id := range c.others {
		a.touch(id)
	}
	a.mark(c.label)
	return c.value()
}

// field returns a column of an item, and whether the item has it.
func (a *analyzer) field(i *item, name string, location int32) (value, bool) {
	if !a.spend(len(i.columns)) {
		return value{}, false
	}
	var found *column
	for c := range i.columns {
		if i.columns[c].name != name {
			continue
		}
		if found != nil {
			a.undefined(ambiguousColumn, location, "", "column reference %q is ambiguous", name)
			return value{}, true
		}
		found = &i.columns[c]
	}
	switch {
	case found != nil:
		return a.read(found), true
	case i.rel != nil && isSystemColumn(i.rel, name):
		return a.systemColumn(i.rel, name), true
	}
	return value{}, false
}

// wholeRow is a reference to an item as a value.
func (a *analyzer) wholeRow(i *item) value {
	if !a.spend(len(i.columns)) {
		return value{}
	}
	v := value{typ: typeRecord, fields: make([]column, len(i.columns))}
	if i.rel != nil {
		a.touch(pgcatalog.ColumnID{Relation: i.rel.OID})
		v.typ = i.rel.RowType
	}
	for c := range i.columns {
		f := i.columns[c]
		a.touch(f.id)
		f.id, f.others = pgcatalog.ColumnID{}, nil
		v.fields[c] = f
		v.label = join(v.label, f.label)
		v.traits = v.traits.with(f.traits)
	}
	v.label = v.label.derive()
	a.mark(v.label)
	return v
}

// mark notes that a value with this label was read.
func (a *analyzer) mark(l label) {
	if !l.bottom() {
		a.tainted, a.labelled = true, true
	}
}

var systemColumns = []string{"ctid", "xmin", "xmax", "cmin", "cmax", "tableoid"}

// isSystemColumn reports whether the relation has the system column. A user's
// column of that name cannot exist.
func isSystemColumn(r *pgcatalog.Relation, name string) bool {
	return r.Kind != pgcatalog.RelationView && r.Kind != pgcatalog.RelationComposite && slices.Contains(systemColumns, name)
}

// systemColumn is a system column's value: where a row is and which
// transactions wrote it, never what is in it; but in which partition it is comes
// from the partition key.
func (a *analyzer) systemColumn(r *pgcatalog.Relation, name string) value {
	switch name {
	case "tableoid":
		place := a.prot.relation(r, a.building).place
		a.mark(place)
		return value{typ: typeOID, label: place}
	case "ctid":
		return plain(typeTID)
	case "cmin", "cmax":
		return plain(typeCID)
	}
	return plain(typeXID)
}
