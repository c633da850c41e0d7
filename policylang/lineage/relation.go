package lineage

import (
	"slices"

	"github.com/posternhq/postern/policylang/internal/ast"
	"github.com/posternhq/postern/policylang/pgcatalog"
	"github.com/posternhq/postern/policylang/statement"
)

// relation is a relation as statements see it. It is immutable.
type relation struct {
	rel       *pgcatalog.Relation
	columns   []column
	protected bool                 // a column's label is not bottom
	tainted   bool                 // reading it runs something opaque
	reads     []pgcatalog.ColumnID // columns that its definition reads
	relations []uint32             // of users, that its definition rests on
	functions []uint32             // likewise
	place     label                // of what says which of its partitions a row is in
	partition label                // of what says that a row is in it, if it is a partition
	base      *pgcatalog.Relation  // whose rows a simple view shows; nil otherwise
}

// relation returns the relation as statements see it. The views that are being
// worked out at the moment are in building.
func (p *Protection) relation(r *pgcatalog.Relation, building []uint32) *relation {
	if known, ok := p.memo.Load(r.OID); ok {
		if seen, ok := known.(*relation); ok {
			return seen
		}
	}
	seen := p.see(r, building)
	p.memo.Store(r.OID, seen)
	return seen
}

func (p *Protection) see(r *pgcatalog.Relation, building []uint32) *relation {
	seen := &relation{rel: r}
	hidden, listed := hiddenColumns(r)
	switch {
	case listed:
		seen.columns = p.plainColumns(r)
		hide(seen.columns, hidden)
	case r.HasDefinition():
		p.seeDefinition(seen, building)
	case pgcatalog.IsSystemSchema(r.Schema) && r.OID < pgcatalog.FirstUserOID:
		seen.columns = p.plainColumns(r)
		hideAll(seen.columns)
	default:
		seen.columns = p.plainColumns(r)
		if r.Kind == pgcatalog.RelationForeign {
			hideUnnamed(seen.columns)
		}
		p.hideForeign(r, seen.columns, map[uint32]bool{})
	}
	for i := range seen.columns {
		seen.protected = seen.protected || !seen.columns[i].label.bottom()
	}
	seen.place = keyOf(r, seen.columns)
	if r.Partition {
		for _, oid := range r.Parents {
			if parent := p.cat.Relation(oid); parent != nil {
				above := p.relation(parent, building)
				seen.partition = join(seen.partition, join(above.place, above.partition))
			}
		}
	}
	for i := range r.RowPolicies {
		seen.tainted = seen.tainted || p.rowPolicyOpaque(r, &r.RowPolicies[i])
	}
	return seen
}

// keyOf joins the labels of a partition key. One that is an expression may be of
// any column.
func keyOf(r *pgcatalog.Relation, columns []column) label {
	var l label
	for i := range columns {
		if slices.Contains(r.PartitionKey, columns[i].id.Column) || slices.Contains(r.PartitionKey, 0) {
			l = join(l, columns[i].label)
		}
	}
	return l.derive()
}

// plainColumns are the columns of a relation that holds its own rows.
func (p *Protection) plainColumns(r *pgcatalog.Relation) []column {
	out := make([]column, len(r.Columns))
	for i := range r.Columns {
		c := &r.Columns[i]
		id := pgcatalog.ColumnID{Relation: r.OID, Column: c.Number}
		out[i] = column{name: c.Name, typ: c.Type, id: id, traits: columnTraits(r, c)}
		if p.entries[id] != nil {
			out[i].label = direct(id)
		}
		if l, ok := p.derived[id]; ok {
			out[i].label = join(out[i].label, l)
		}
	}
	return out
}

// seeDefinition works out a view or materialised view by following its
// definition. What cannot be followed depends on everything.
func (p *Protection) seeDefinition(seen *relation, building []uint32) {
	r := seen.rel
	seen.columns = p.namedColumns(r)
	a := p.storedAnalyzer(append(building[:len(building):len(building)], r.OID))
	var out []column
	if slices.Contains(building, r.OID) {
		a.refuse(CodeUnsupported, -1, "", "the view is defined by itself")
	} else {
		out = a.definition(r.Definition, seen)
	}
	if a.refusal != nil || len(out) != len(seen.columns) {
		seen.tainted = true
		hideAll(seen.columns)
		return
	}
	seen.tainted, seen.reads = a.tainted, a.touchedColumns()
	seen.relations, seen.functions = distinct(a.relations), distinct(a.functions)
	for i := range seen.columns {
		c := &seen.columns[i]
		c.fields = out[i].fields
		c.label = p.viewColumn(c.id, out[i].label)
	}
}

// viewColumn labels a view's column that shows something labelled l. A policy
// that names the view's column adds to what protects that.
func (p *Protection) viewColumn(id pgcatalog.ColumnID, l label) label {
	own := p.entries[id]
	switch {
	case own == nil:
		return l
	case l.derived || l.all:
		return join(l, direct(id))
	}
	for _, source := range l.columns {
		if e := p.entries[source]; e != nil && source != id {
			own.absorb(e)
		}
	}
	return direct(id)
}

// namedColumns are a relation's columns without labels.
func (p *Protection) namedColumns(r *pgcatalog.Relation) []column {
	out := make([]column, len(r.Columns))
	for i := range r.Columns {
		c := &r.Columns[i]
		out[i] = column{name: c.Name, typ: c.Type, id: pgcatalog.ColumnID{Relation: r.OID, Column: c.Number}, traits: columnTraits(r, c)}
	}
	return out
}

func hideAll(columns []column) {
	for i := range columns {
		columns[i].label = join(columns[i].label, everything())
	}
}

// hide hides columns by their names; those with a tilde are definitions.
func hide(columns []column, names []string) {
	for i := range columns {
		switch {
		case slices.Contains(names, columns[i].name):
			columns[i].label = everything()
		case slices.Contains(names, "~"+columns[i].name):
			columns[i].label = definitionText()
		}
	}
}

// hideUnnamed hides the columns of a foreign table that no policy names: what
// they hold is another server's.
func hideUnnamed(columns []column) {
	for i := range columns {
		if columns[i].label.bottom() {
			columns[i].label = everything()
		}
	}
}

// hideForeign hides the columns of a table that the rows of a foreign table
// below it may fill, as that table's own are hidden.
func (p *Protection) hideForeign(r *pgcatalog.Relation, columns []column, done map[uint32]bool) {
	for _, oid := range r.Children {
		child := p.cat.Relation(oid)
		if child == nil || done[oid] {
			continue
		}
		done[oid] = true
		if child.Kind == pgcatalog.RelationForeign {
			below := p.plainColumns(child)
			hideUnnamed(below)
			for i := range columns {
				for j := range below {
					if below[j].name == columns[i].name {
						columns[i].label = join(columns[i].label, below[j].label)
					}
				}
			}
		}
		p.hideForeign(child, columns, done)
	}
}

// storedPath is the search_path under which the server prints definitions.
var storedPath = []string{"pg_catalog"}

// storedAnalyzer follows stored code.
func (p *Protection) storedAnalyzer(building []uint32) *analyzer {
	a := newAnalyzer(Environment{SearchPath: storedPath, Database: p.cat.Database}, p.cat, p)
	a.stored = true
	a.building = building
	return a
}

// definition follows a stored query.
func (a *analyzer) definition(sql string, seen *relation) []column {
	tree := a.parse(sql)
	if tree == nil {
		return nil
	}
	node := tree.Statements[0].Node()
	seen.base = a.simpleBase(node)
	return a.query(node, nil, nil)
}

// simpleBase returns the one relation that a query of the form that PostgreSQL
// lets be written through selects from.
func (a *analyzer) simpleBase(node *ast.Node) *pgcatalog.Relation {
	s, ok := ast.Unwrap(node).(*ast.SelectStmt)
	if !ok || len(s.FromClause) != 1 || s.WithClause != nil || s.Larg != nil {
		return nil
	}
	v, ok := ast.Unwrap(s.FromClause[0]).(*ast.RangeVar)
	if !ok {
		return nil
	}
	return a.findRelation(v)
}

// parse parses one stored statement; nil if it cannot be read.
func (a *analyzer) parse(sql string) *statement.Tree {
	tree, err := statement.Parse(sql, statement.Limits{})
	if err != nil || len(tree.Statements) != 1 {
		a.refuse(CodeUnsupported, -1, "", "stored code cannot be parsed")
		return nil
	}
	return tree
}

// storedExpression follows a stored expression in a scope.
func (a *analyzer) storedExpression(text string, s *scope) value {
	tree := a.parse("SELECT (" + text + "\n)")
	if tree == nil {
		return value{label: everything()}
	}
	sel, ok := ast.Unwrap(tree.Statements[0].Node()).(*ast.SelectStmt)
	if !ok || len(sel.TargetList) != 1 {
		return value{label: everything()}
	}
	target, ok := ast.Unwrap(sel.TargetList[0]).(*ast.ResTarget)
	if !ok {
		return value{label: everything()}
	}
	return a.expr(target.Val, s)
}

// rowPolicyOpaque reports whether a row policy runs code that cannot be read.
func (p *Protection) rowPolicyOpaque(r *pgcatalog.Relation, policy *pgcatalog.RowPolicy) bool {
	for _, text := range []string{policy.Using, policy.Check} {
		if text == "" {
			continue
		}
		a := p.storedAnalyzer([]uint32{r.OID})
		a.storedExpression(text, &scope{items: []*item{tableItem(r, p.plainColumns(r), r.Name)}})
		if a.refusal != nil || a.tainted {
			return true
		}
	}
	return false
}
