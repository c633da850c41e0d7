package statement

import (
	"slices"

	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/policylang/internal/ast"
)

// maxInSight bounds the items, and the levels, that a name is looked up in: what
// is in sight of more than that may be a column of any relation at all. It
// keeps the work linear in the text.
const maxInSight = 64

// scope is what names may stand for at one level of a query.
type scope struct {
	outer *scope
	items []item
	// target is the item that the level's statement changes, or nil.
	target *item
	named  map[string][]int // items by name; nil if they are few
	ctes   map[string]bool
	// closed hides the items, not the CTEs, of the scope next to it: a subquery
	// in FROM sees its neighbours only if it is LATERAL.
	closed bool
}

// item is something in FROM, or the target of a statement.
type item struct {
	name    string // as the query calls it
	schema  string // of the relation
	table   string // empty if it is not a relation: a subquery, CTE or function
	any     bool   // may be any relation
	renamed bool   // an alias renames its columns: theirs are not known
	target  bool   // of an INSERT, UPDATE, DELETE or MERGE
}

// push opens a level.
func (c *collector) push(closed bool) {
	c.scope = &scope{outer: c.scope, closed: closed}
}

func (c *collector) pop() { c.scope = c.scope.outer }

// fewItems are faster looked through than found by name.
const fewItems = 8

// add adds an item to the level.
func (s *scope) add(it item) {
	s.items = append(s.items, it)
	switch n := len(s.items); {
	case n <= fewItems:
	case s.named == nil:
		s.named = make(map[string][]int, 2*fewItems)
		for i := range s.items {
			s.named[s.items[i].name] = append(s.named[s.items[i].name], i)
		}
	default:
		s.named[it.name] = append(s.named[it.name], n-1)
	}
}

// called calls f for each item of that name.
func (s *scope) called(name string, f func(it item)) {
	if s.named == nil {
		for _, it := range s.items {
			if it.name == name {
				f(it)
			}
		}
		return
	}
	for _, i := range s.named[name] {
		f(s.items[i])
	}
}

func (s *scope) addCTE(name string) {
	if s.ctes == nil {
		s.ctes = map[string]bool{}
	}
	s.ctes[name] = true
}

// isCTE reports whether an unqualified name is a common table expression. If
// that is too far away to tell, it is taken for a relation.
func (c *collector) isCTE(name string) bool {
	levels := 0
	for s := c.scope; s != nil && levels < maxInSight; s = s.outer {
		if s.ctes[name] {
			return true
		}
		levels++
	}
	return false
}

// fromRelation adds a relation of FROM.
func (c *collector) fromRelation(r *ast.RangeVar) []item {
	it := item{name: r.GetRelname(), schema: r.GetSchemaname(), table: r.GetRelname()}
	if r.GetSchemaname() == "" && r.GetCatalogname() == "" && c.isCTE(r.GetRelname()) {
		it.table = ""
	} else {
		c.rangeVar(r, policylang.VerbRead)
	}
	it.alias(r.GetAlias())
	c.scope.add(it)
	return []item{it}
}

// targetItem adds the relation that a statement changes, which is never a CTE.
func (c *collector) targetItem(r *ast.RangeVar) item {
	it := item{name: r.GetRelname(), schema: r.GetSchemaname(), table: r.GetRelname(), target: true}
	it.alias(r.GetAlias())
	c.scope.add(it)
	c.scope.target = &it
	return it
}

func (it *item) alias(a *ast.Alias) {
	if a == nil {
		return
	}
	it.name = a.GetAliasname()
	it.renamed = it.renamed || len(a.GetColnames()) > 0
}

// reads adds a column of an item; an empty column is all of them.
func (c *collector) reads(it item, column string) {
	if it.renamed {
		column = ""
	}
	switch {
	case it.any:
		c.column("", "", column)
	case it.table != "":
		c.column(it.schema, it.table, column)
	}
	if it.target {
		c.relation(it.schema, it.table, policylang.VerbRead)
	}
}

// readsOne adds a column that may be of any of the items.
func (c *collector) readsOne(items []item, column string) {
	if len(items) > maxInSight {
		items = []item{{any: true}}
	}
	for _, it := range items {
		c.reads(it, column)
	}
}

// levels calls f for each level that can be seen from here, innermost first,
// until it returns true, and reports whether that was all of them.
func (c *collector) levels(f func(s *scope) bool) (all bool) {
	hidden, seen := false, 0
	for s := c.scope; s != nil; s = s.outer {
		if seen++; seen > maxInSight {
			return false
		}
		if !hidden && f(s) {
			return true
		}
		hidden = s.closed
	}
	return true
}

// columnRef adds the columns that a name may stand for. Without a catalog a
// bare name may be a column of any relation in sight, or a whole row.
func (c *collector) columnRef(ref *ast.ColumnRef) {
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

func columnNames(ref *ast.ColumnRef) (names []string, star bool) {
	names = make([]string, 0, len(ref.GetFields()))
	for _, f := range ref.GetFields() {
		switch f := ast.Unwrap(f).(type) {
		case *ast.String:
			names = append(names, f.GetSval())
		case *ast.A_Star:
			star = true
		}
	}
	return names, star
}

func (c *collector) bareColumn(name string) {
	var inSight []item
	all := c.levels(func(s *scope) bool {
		if items := s.items[:min(len(s.items), maxInSight+1)]; inSight == nil {
			inSight = slices.Clip(items) // is not copied unless there is more
		} else {
			inSight = append(inSight, items...)
		}
		s.called(name, func(it item) { c.reads(it, "") }) // the whole row
		return len(inSight) > maxInSight
	})
	if !all {
		inSight = append(inSight, item{any: true})
	}
	c.readsOne(inSight, name)
	if len(inSight) > maxInSight {
		c.readsTargets()
	}
}

// readsTargets adds a read of each relation that a statement in sight changes.
func (c *collector) readsTargets() {
	for s := c.scope; s != nil; s = s.outer {
		if s.target != nil {
			c.relation(s.target.schema, s.target.table, policylang.VerbRead)
		}
	}
}

// qualifiedColumn adds column (all if empty) of a relation that is named by
// alias, by schema and table, or by those behind a database.
func (c *collector) qualifiedColumn(relation []string, column string) {
	if len(relation) > 1 {
		schema, table := lastTwo(relation)
		c.column(schema, table, column)
		c.levels(func(s *scope) bool {
			if s.target != nil && s.target.table == table {
				c.relation(s.target.schema, s.target.table, policylang.VerbRead)
			}
			return false
		})
		return
	}
	found := false
	all := c.levels(func(s *scope) bool {
		s.called(relation[0], func(it item) {
			found = true
			c.reads(it, column)
		})
		return found
	})
	switch {
	case found:
	case c.body, !all: // a variable, perhaps of a row type, or too far away
		c.column("", "", column)
	default:
		c.column("", relation[0], column)
	}
}
