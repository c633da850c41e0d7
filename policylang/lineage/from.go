package lineage

import (
	"slices"
	"strings"

	"github.com/posternhq/postern/policylang/internal/ast"
	"github.com/posternhq/postern/policylang/pgcatalog"
)

// from adds the items of a FROM list to a scope, left to right. While the list
// is read, earlier items are visible to LATERAL ones only.
func (a *analyzer) from(list []*ast.Node, s *scope) {
	for _, n := range list {
		items := a.fromItem(n, s)
		setLateral(items, true, true)
		s.items = append(s.items, items...)
	}
	setLateral(s.items, false, true)
}

// fromItem reads one item of FROM into the name space that it makes.
func (a *analyzer) fromItem(n *ast.Node, s *scope) []*item {
	if !a.enter() {
		return nil
	}
	defer a.leave()
	switch n := ast.Unwrap(n).(type) {
	case *ast.RangeVar:
		return one(a.table(n, s))
	case *ast.RangeSubselect:
		return one(a.subselect(n, s))
	case *ast.RangeFunction:
		return one(a.functionItem(n, s))
	case *ast.RangeTableFunc:
		return one(a.xmlTable(n, s))
	case *ast.RangeTableSample:
		return one(a.sample(n, s))
	case *ast.JoinExpr:
		return a.join(n, s)
	}
	a.unsupported(n, "this kind of FROM item")
	return nil
}

func one(i *item) []*item {
	if i == nil {
		return nil
	}
	return []*item{i}
}

// table reads a table, view or WITH query.
func (a *analyzer) table(n *ast.RangeVar, s *scope) *item {
	if n.Schemaname == "" {
		if c := findCTE(s, n.Relname); c != nil {
			i := &item{alias: n.Relname, named: true, bare: true, lateralOK: true}
			i.columns = a.rename(slices.Clone(a.cteColumns(c)), n.Alias, n.Location)
			setAlias(i, n.Alias)
			return i
		}
	}
	r := a.findRelation(n)
	if r == nil {
		return nil
	}
	seen := a.see(r, n.Location)
	i := tableItem(r, seen.columns, r.Name)
	if n.Alias != nil && len(n.Alias.Colnames) > 0 {
		i.columns = a.rename(slices.Clone(seen.columns), n.Alias, n.Location)
	}
	setAlias(i, n.Alias)
	return i
}

func setAlias(i *item, alias *ast.Alias) {
	if alias != nil && alias.Aliasname != "" {
		i.alias, i.renamed = alias.Aliasname, true
	}
}

// see returns a relation as the statement sees it, noting what reading it does.
func (a *analyzer) see(r *pgcatalog.Relation, location int32) *relation {
	if r.Kind == pgcatalog.RelationComposite {
		a.refuse(CodeUnknown, location, "", "%q is a type, not a table", r.Name)
	}
	seen := a.prot.relation(r, a.building)
	if isForbidden(r) && !a.stored {
		a.refuse(CodeServer, location, "Use pg_roles.", "%s may not be read while values are masked for you", r.Name)
	}
	a.control(seen.partition, usePredicate, "choosing one of "+r.Name+"'s fellow partitions", location)
	a.tainted = a.tainted || seen.tainted
	a.secret = a.secret || seen.protected
	a.touched = append(a.touched, seen.reads...)
	a.relations = append(append(a.relations, r.OID), seen.relations...)
	a.functions = append(a.functions, seen.functions...)
	a.spend(len(seen.columns) + len(seen.reads))
	return seen
}

// findRelation finds the relation that a name means, WITH queries aside.
func (a *analyzer) findRelation(n *ast.RangeVar) *pgcatalog.Relation {
	if n == nil {
		a.unsupported(nil, "a statement without a relation")
		return nil
	}
	if n.Catalogname != "" && n.Catalogname != a.env.Database {
		a.refuse(CodeUnknown, n.Location, "", "references to other databases are not possible: %q", n.Catalogname)
		return nil
	}
	var r *pgcatalog.Relation
	switch {
	case n.Schemaname == "pg_temp":
		if schema, ok := a.temporarySchema(); ok {
			r = a.cat.RelationNamed(schema, n.Relname)
		}
	case n.Schemaname != "":
		r = a.cat.RelationNamed(n.Schemaname, n.Relname)
	case a.env.SearchPath == nil:
		a.unknownPath(n.Location, n.Relname)
		return nil
	default:
		r = a.cat.FindRelation(a.env.SearchPath, n.Relname)
		a.checkShadow(r, n)
	}
	if r == nil {
		a.undefined(undefinedTable, n.Location, "", "relation %q does not exist", strings.TrimPrefix(n.Schemaname+"."+n.Relname, "."))
	}
	return r
}

// temporarySchema returns the session's temporary schema.
func (a *analyzer) temporarySchema() (string, bool) {
	for _, schema := range a.env.SearchPath {
		if pgcatalog.IsTemporarySchema(schema) {
			return schema, true
		}
	}
	return "", false
}

func (a *analyzer) unknownPath(location int32, name string) {
	a.refuse(CodeUnknownState, location, "Qualify the name with its schema.", "the session's search_path is not known, so %q cannot be resolved", name)
}

// checkShadow refuses a temporary relation that stands before one that holds
// protected columns: were it gone by the time the statement runs, the name
// would mean the other.
func (a *analyzer) checkShadow(r *pgcatalog.Relation, n *ast.RangeVar) {
	if r == nil || !r.Temporary || a.stored {
		return
	}
	for _, schema := range a.env.SearchPath {
		other := a.cat.RelationNamed(schema, n.Relname)
		if other != nil && other != r && a.prot.relation(other, a.building).protected {
			a.refuse(CodeHides, n.Location, "Qualify the name with its schema, or drop the temporary relation.",
				"the temporary relation %q hides one with masked columns", n.Relname)
		}
	}
}

// rename gives columns the names of an alias list, in place.
func (a *analyzer) rename(columns []column, alias *ast.Alias, location int32) []column {
	if alias == nil {
		return columns
	}
	names := stringList(alias.Colnames)
	if len(names) > len(columns) {
		a.refuse(CodeUnknown, location, "", "%q has %d columns available but %d columns specified", alias.Aliasname, len(columns), len(names))
		return columns
	}
	for i, name := range names {
		columns[i].name = name
	}
	return columns
}

// subselect reads a sub-select in FROM.
func (a *analyzer) subselect(n *ast.RangeSubselect, s *scope) *item {
	columns := a.lateral(n.Lateral, s, func() []column { return a.query(n.Subquery, s, nil) })
	i := &item{columns: a.rename(settle(columns), n.Alias, -1), bare: true, lateralOK: true}
	if n.Alias != nil {
		i.alias, i.renamed, i.named = n.Alias.Aliasname, true, true
	}
	return i
}

// lateral runs read while the items to the left are visible, if on.
func (a *analyzer) lateral(on bool, s *scope, read func() []column) []column {
	was := s.lateral
	s.lateral = on
	defer func() { s.lateral = was }()
	return read()
}

// sample reads a table with TABLESAMPLE. Its arguments decide which rows there
// are.
func (a *analyzer) sample(n *ast.RangeTableSample, s *scope) *item {
	v, ok := ast.Unwrap(n.Relation).(*ast.RangeVar)
	if !ok {
		a.unsupported(n, "TABLESAMPLE of something else than a table")
		return nil
	}
	i := a.table(v, s)
	switch names := stringList(n.Method); {
	case len(names) == 1 && (names[0] == "bernoulli" || names[0] == "system"):
	case len(names) == 2 && names[0] == "pg_catalog" && (names[1] == "bernoulli" || names[1] == "system"):
	default:
		a.opaque(n.Location, "the sampling method")
	}
	a.lateral(true, s, func() []column {
		for _, arg := range append(n.Args[:len(n.Args):len(n.Args)], n.Repeatable) {
			a.control(a.expr(arg, s).label, usePredicate, "TABLESAMPLE", n.Location)
		}
		return nil
	})
	return i
}

// join reads a JOIN. One without USING, NATURAL or an alias leaves the name
// space of its sides as it is: its own columns are theirs, in order.
func (a *analyzer) join(n *ast.JoinExpr, s *scope) []*item {
	left := a.fromItem(n.Larg, s)
	setLateral(left, true, n.Jointype == joinInner || n.Jointype == joinLeft)
	kept := len(s.items)
	s.items = append(s.items, left...)
	right := a.fromItem(n.Rarg, s)
	s.items = s.items[:kept:kept]
	items := append(left, right...)
	setLateral(items, false, true)
	if a.refusal != nil {
		return items
	}
	switch n.Jointype {
	case joinInner, joinLeft, joinFull, joinRight:
	default:
		a.unsupported(n, "this kind of join")
	}
	merged := a.mergedColumns(n, left, right)
	if n.Quals != nil {
		on := &scope{parent: s.parent, items: items, ctes: s.ctes, params: s.params}
		a.predicate(n.Quals, on, "JOIN … ON")
	}
	if len(merged) == 0 && n.Alias == nil {
		return items
	}
	return a.joinItem(n, merged, left, right)
}

// joinItem makes the item of a join that has columns of its own.
func (a *analyzer) joinItem(n *ast.JoinExpr, merged []column, left, right []*item) []*item {
	columns := slices.Clone(merged)
	isMerged := func(name string) bool {
		return slices.ContainsFunc(merged, func(m column) bool { return m.name == name })
	}
	for _, side := range [][]*item{left, right} {
		for _, c := range a.bareColumns(side) {
			if !isMerged(c.name) {
				columns = append(columns, *c)
			}
		}
	}
	if !a.spend(len(columns)) {
		return nil
	}
	own := &item{columns: columns, bare: true, lateralOK: true}
	items := append(left, right...)
	if n.Alias != nil {
		own.columns = a.rename(columns, n.Alias, -1)
		own.alias, own.renamed, own.named = n.Alias.Aliasname, true, true
		items = nil
	}
	for _, i := range items {
		i.bare = false
	}
	items = append(items, own)
	if n.JoinUsingAlias != nil {
		items = append(items, &item{
			alias: n.JoinUsingAlias.Aliasname, renamed: true, named: true, lateralOK: true, columns: merged,
		})
	}
	return items
}

// bareColumns lists the columns that * would mean.
func (a *analyzer) bareColumns(items []*item) []*column {
	var out []*column
	for _, i := range items {
		if !i.bare {
			continue
		}
		if !a.spend(len(i.columns)) {
			return nil
		}
		for c := range i.columns {
			out = append(out, &i.columns[c])
		}
	}
	return out
}

// mergedColumns are the columns that USING or NATURAL makes one of, in the
// order in which * shows them. Comparing them decides which rows there are.
func (a *analyzer) mergedColumns(n *ast.JoinExpr, left, right []*item) []column {
	names := stringList(n.UsingClause)
	if !n.IsNatural && len(names) == 0 {
		return nil
	}
	l, r := a.bareColumns(left), a.bareColumns(right)
	if n.IsNatural {
		names = commonNames(l, r)
	}
	var merged []column
	for _, name := range names {
		lc, rc := a.usingColumn(l, name), a.usingColumn(r, name)
		if lc == nil || rc == nil {
			return nil
		}
		lv, rv := a.read(lc), a.read(rc)
		a.control(join(lv.label, rv.label), usePredicate, usingClause(n), -1)
		a.operator([]string{"="}, lv, rv, -1)
		m := column{name: name, label: join(lv.label, rv.label), id: lc.id, others: slices.Concat(lc.others, []pgcatalog.ColumnID{rc.id}, rc.others), traits: lc.either(rc.traits)}
		if lc.typ == rc.typ {
			m.typ = lc.typ
		}
		merged = append(merged, m)
	}
	return merged
}

func usingClause(n *ast.JoinExpr) string {
	if n.IsNatural {
		return "NATURAL JOIN"
	}
	return "JOIN … USING"
}

// commonNames lists the names that both sides have, in the left one's order.
func commonNames(left, right []*column) []string {
	have := make(map[string]bool, len(right))
	for _, c := range right {
		have[c.name] = true
	}
	var names []string
	for _, c := range left {
		if have[c.name] {
			names = append(names, c.name)
		}
	}
	return names
}

func (a *analyzer) usingColumn(columns []*column, name string) *column {
	var found *column
	for _, c := range columns {
		if c.name != name {
			continue
		}
		if found != nil {
			a.refuse(CodeAmbiguous, -1, "", "column %q of USING is ambiguous", name)
			return nil
		}
		found = c
	}
	if found == nil {
		a.refuse(CodeUnknown, -1, "", "column %q of USING is not on both sides", name)
	}
	return found
}

// stringList reads a list of names.
func stringList(list []*ast.Node) []string {
	if len(list) == 0 {
		return nil
	}
	out := make([]string, len(list))
	for i, n := range list {
		if s, ok := ast.Unwrap(n).(*ast.String); ok {
			out[i] = s.Sval
		}
	}
	return out
}
