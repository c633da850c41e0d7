package statement

import "github.com/posternhq/postern/policylang"

// scope is what names may stand for at one level of a query.
type scope struct {
	outer *scope
	items []item
	ctes  []string
	// closed hides the items, not the CTEs, of the scope next to it: a subquery
	// in FROM sees its neighbours only if it is LATERAL.
	closed bool
}

// item is something in FROM, or the target of a statement.
type item struct {
	name    string // as the query calls it
	schema  string // of the relation
	table   string // empty if it is not a relation: a subquery, CTE or function
	renamed bool   // an alias renames its columns: theirs are not known
	target  bool   // of an INSERT, UPDATE, DELETE or MERGE
}

// push opens a level.
func (c *collector) push(closed bool) {
	c.scope = &scope{outer: c.scope, closed: closed}
}

func (c *collector) pop() { c.scope = c.scope.outer }

// isCTE reports whether an unqualified name is a common table expression.
func (c *collector) isCTE(name string) bool {
	for s := c.scope; s != nil; s = s.outer {
		for _, cte := range s.ctes {
			if cte == name {
				return true
			}
		}
	}
	return false
}

// fromRelation adds a relation of FROM.
func (c *collector) fromRelation(r *RangeVar) []item {
	it := item{name: r.GetRelname(), schema: r.GetSchemaname(), table: r.GetRelname()}
	if r.GetSchemaname() == "" && r.GetCatalogname() == "" && c.isCTE(r.GetRelname()) {
		it.table = ""
	} else {
		c.rangeVar(r, policylang.VerbRead)
	}
	it.alias(r.GetAlias())
	c.scope.items = append(c.scope.items, it)
	return []item{it}
}

// targetItem adds the relation that a statement changes, which is never a CTE.
func (c *collector) targetItem(r *RangeVar) item {
	it := item{name: r.GetRelname(), schema: r.GetSchemaname(), table: r.GetRelname(), target: true}
	it.alias(r.GetAlias())
	c.scope.items = append(c.scope.items, it)
	return it
}

func (it *item) alias(a *Alias) {
	if a == nil {
		return
	}
	it.name = a.GetAliasname()
	it.renamed = it.renamed || len(a.GetColnames()) > 0
}

// reads adds a column of an item; an empty column is all of them.
func (c *collector) reads(it item, column string) {
	if it.table == "" {
		return
	}
	if it.renamed {
		column = ""
	}
	c.column(it.schema, it.table, column)
	if it.target {
		c.relation(it.schema, it.table, policylang.VerbRead)
	}
}

// visible calls f for the items of each level that can be seen from here,
// innermost first, until it returns true.
func (c *collector) visible(f func(items []item) bool) {
	hidden := false
	for s := c.scope; s != nil; s = s.outer {
		if !hidden && f(s.items) {
			return
		}
		hidden = s.closed
	}
}

// columnRef adds the columns that a name may stand for. Without a catalog a
// bare name may be a column of any relation in sight, or a whole row.
func (c *collector) columnRef(ref *ColumnRef) {
	names, star := columnNames(ref)
	switch {
	case star && len(names) == 0:
		for _, it := range c.scope.items {
			c.reads(it, "")
		}
	case star:
		c.qualifiedColumn(names, "")
	case len(names) == 1:
		c.bareColumn(names[0])
	case len(names) > 1:
		c.qualifiedColumn(names[:len(names)-1], names[len(names)-1])
	}
}

func columnNames(ref *ColumnRef) (names []string, star bool) {
	for _, f := range ref.GetFields() {
		switch f := Unwrap(f).(type) {
		case *String:
			names = append(names, f.GetSval())
		case *A_Star:
			star = true
		}
	}
	return names, star
}

func (c *collector) bareColumn(name string) {
	c.visible(func(items []item) bool {
		for _, it := range items {
			c.reads(it, name)
			if it.name == name {
				c.reads(it, "")
			}
		}
		return false
	})
}

// qualifiedColumn adds column (all if empty) of a relation that is named by
// alias, by schema and table, or by those behind a database.
func (c *collector) qualifiedColumn(relation []string, column string) {
	if len(relation) > 1 {
		schema, table := relation[len(relation)-2], relation[len(relation)-1]
		c.column(schema, table, column)
		c.visible(func(items []item) bool {
			for _, it := range items {
				if it.target && it.table == table {
					c.relation(it.schema, it.table, policylang.VerbRead)
				}
			}
			return false
		})
		return
	}
	found := false
	c.visible(func(items []item) bool {
		for _, it := range items {
			if it.name == relation[0] {
				found = true
				c.reads(it, column)
			}
		}
		return found
	})
	switch {
	case found:
	case c.body: // a variable, perhaps of a row type
		c.column("", "", column)
	default:
		c.column("", relation[0], column)
	}
}
