package scenario

import (
	"slices"

	"github.com/posternhq/postern/policylang/internal/ast"
	"github.com/posternhq/postern/policylang/pgcatalog"
)

func (r *schemaReader) createTable(n *ast.CreateStmt) {
	if n.GetIfNotExists() && r.findRelation(n.GetRelation().GetSchemaname(), n.GetRelation().GetRelname()) != nil {
		return
	}
	if n.GetOfTypename() != nil {
		r.problem(n.GetOfTypename().GetLocation(), "a schema file cannot have tables OF a type")
		return
	}
	schema, name := r.newName(n.GetRelation().GetSchemaname(), n.GetRelation().GetRelname())
	rel := &pgcatalog.Relation{
		Schema: schema, Name: name, Kind: pgcatalog.RelationTable,
		Temporary: n.GetRelation().GetRelpersistence() == "t",
		Partition: n.GetPartbound() != nil,
	}
	if n.GetPartspec() != nil {
		rel.Kind = pgcatalog.RelationPartitioned
	}
	for _, parent := range n.GetInhRelations() {
		if v, ok := ast.Unwrap(parent).(*ast.RangeVar); ok {
			r.inherit(rel, r.relation(v))
		}
	}
	var constraints []tableConstraint
	for _, element := range n.GetTableElts() {
		switch e := ast.Unwrap(element).(type) {
		case *ast.ColumnDef:
			constraints = append(constraints, r.addColumn(rel, e)...)
		case *ast.TableLikeClause:
			r.like(rel, e)
		case *ast.Constraint:
			constraints = append(constraints, tableConstraint{e, ""})
		}
	}
	r.addRelation(rel)
	for _, c := range constraints {
		r.addConstraint(rel, c)
	}
}

// copied says what of another table a new one takes over besides the names
// and types of its columns.
type copied struct{ defaults, generated, identity, checks, keys bool }

// inherit makes a table a child of its parent. A partition takes over the
// parent's keys too.
func (r *schemaReader) inherit(rel, parent *pgcatalog.Relation) {
	if parent == nil {
		return
	}
	rel.Parents = append(rel.Parents, parent.OID)
	r.copyColumns(rel, parent, copied{defaults: true, generated: true})
	copyConstraints(rel, parent, copied{checks: true, keys: rel.Partition})
}

// The bits of LIKE's options, as PostgreSQL's TableLikeOption has them.
const (
	likeConstraints = 1 << 2
	likeDefaults    = 1 << 3
	likeGenerated   = 1 << 4
	likeIdentity    = 1 << 5
	likeIndexes     = 1 << 6
)

func (r *schemaReader) like(rel *pgcatalog.Relation, n *ast.TableLikeClause) {
	other := r.relation(n.GetRelation())
	if other == nil {
		return
	}
	o := n.GetOptions()
	what := copied{
		defaults: o&likeDefaults != 0, generated: o&likeGenerated != 0, identity: o&likeIdentity != 0,
		checks: o&likeConstraints != 0, keys: o&likeIndexes != 0,
	}
	r.copyColumns(rel, other, what)
	copyConstraints(rel, other, what)
	if what.keys { // LIKE never copies foreign keys
		rel.Constraints = slices.DeleteFunc(rel.Constraints, func(c pgcatalog.Constraint) bool { return c.Kind == pgcatalog.ConstraintForeign })
	}
}

func (r *schemaReader) copyColumns(rel, other *pgcatalog.Relation, what copied) {
	for _, c := range other.Columns {
		if rel.ColumnNamed(c.Name) != nil {
			continue
		}
		c.Number = int16(len(rel.Columns) + 1)
		c.Identity = c.Identity && what.identity
		if c.Generated && !what.generated || !c.Generated && !what.defaults {
			c.Generated, c.Default = false, ""
		}
		rel.Columns = append(rel.Columns, c)
	}
}

// copyConstraints gives a table another's constraints, of which the columns are
// found by their names.
func copyConstraints(rel, other *pgcatalog.Relation, what copied) {
	for _, c := range other.Constraints {
		if check := c.Kind == pgcatalog.ConstraintCheck; check && what.checks || !check && what.keys {
			c.Columns = sameColumns(rel, other, c.Columns)
			rel.Constraints = append(rel.Constraints, c)
		}
	}
	if what.keys {
		for _, x := range other.Indexes {
			x.Columns = sameColumns(rel, other, x.Columns)
			rel.Indexes = append(rel.Indexes, x)
		}
	}
}

func sameColumns(rel, other *pgcatalog.Relation, numbers []int16) []int16 {
	out := make([]int16, len(numbers))
	for i, n := range numbers {
		if c := other.Column(n); c != nil {
			if own := rel.ColumnNamed(c.Name); own != nil {
				out[i] = own.Number
			}
		}
	}
	return out
}

// addColumn adds a column and returns the constraints that stand with it. A
// column that a parent has too is merged with the parent's.
func (r *schemaReader) addColumn(rel *pgcatalog.Relation, def *ast.ColumnDef) []tableConstraint {
	column := rel.ColumnNamed(def.GetColname())
	if column == nil {
		rel.Columns = append(rel.Columns, pgcatalog.Column{Name: def.GetColname(), Number: int16(len(rel.Columns) + 1), Modifier: -1})
		column = &rel.Columns[len(rel.Columns)-1]
	}
	if def.GetTypeName() != nil && !r.serial(rel, column, def) {
		column.Type, column.Modifier = r.typeOf(def.GetTypeName())
	}
	var table []tableConstraint
	for _, node := range def.GetConstraints() {
		c, ok := ast.Unwrap(node).(*ast.Constraint)
		if !ok {
			continue
		}
		if !r.columnConstraint(column, c, def) {
			table = append(table, tableConstraint{c, def.GetColname()})
		}
	}
	return table
}

// columnConstraint applies a constraint that is the column's alone.
func (r *schemaReader) columnConstraint(column *pgcatalog.Column, c *ast.Constraint, def *ast.ColumnDef) bool {
	switch c.GetContype() {
	case ast.ConstrType_CONSTR_NOTNULL:
		column.NotNull = true
	case ast.ConstrType_CONSTR_IDENTITY:
		column.Identity, column.NotNull = true, true
	case ast.ConstrType_CONSTR_DEFAULT:
		column.Default = r.defaultText(c, def)
	case ast.ConstrType_CONSTR_GENERATED:
		column.Generated = true
		column.Default = r.bracketed(c.GetLocation(), c.GetRawExpr(), "as")
	default:
		return false
	}
	return true
}

// serial reads the types serial, bigserial and smallserial, which are not types
// at all: an integer with a default from a sequence of its own.
func (r *schemaReader) serial(rel *pgcatalog.Relation, column *pgcatalog.Column, def *ast.ColumnDef) bool {
	parts := nameParts(def.GetTypeName().GetNames())
	integers := map[string]string{
		"serial": "int4", "serial4": "int4", "bigserial": "int8", "serial8": "int8", "smallserial": "int2", "serial2": "int2",
	}
	if len(parts) != 1 || integers[parts[0]] == "" {
		return false
	}
	column.Type, column.Modifier, column.NotNull = r.findType("pg_catalog", integers[parts[0]]).OID, -1, true
	sequence := rel.Name + "_" + column.Name + "_seq"
	r.addRelation(&pgcatalog.Relation{Schema: rel.Schema, Name: sequence, Kind: pgcatalog.RelationSequence, Columns: r.sequenceColumns()})
	name := quoteIdentifier(rel.Schema) + "." + quoteIdentifier(sequence)
	column.Default = "nextval('" + name + "'::regclass)"
	return true
}

// defaultText is the text of DEFAULT's expression: up to the next constraint
// of the column, or the end of the column.
func (r *schemaReader) defaultText(c *ast.Constraint, def *ast.ColumnDef) string {
	i := slices.IndexFunc(r.tokens, func(t token) bool { return t.start == int(c.GetLocation()) })
	if i < 0 || r.tokens[i].text != "default" || i+1 >= len(r.tokens) {
		r.problem(c.GetLocation(), "the default of %q cannot be read", def.GetColname())
		return ""
	}
	depth := r.tokens[i].depth
	end := r.current.Offset + len(r.current.Text)
	for _, t := range r.tokens[i+1:] {
		if t.depth < depth || t.depth == depth && (t.text == "," || t.text == ";") {
			end = t.start
			break
		}
	}
	for _, node := range def.GetConstraints() {
		other, ok := ast.Unwrap(node).(*ast.Constraint)
		if at := int(other.GetLocation()); ok && at > int(c.GetLocation()) && at < end {
			end = at
		}
	}
	return splice(r.sql, r.tokens[i+1].start, end, r.qualify(ast.Unwrap(c.GetRawExpr())))
}

// bracketed is the text of an expression in the first brackets behind a word,
// which stands at location or behind it.
func (r *schemaReader) bracketed(location int32, expr *ast.Node, word string) string {
	for i, t := range r.tokens {
		if t.start >= int(location) && t.text == word && i+1 < len(r.tokens) && r.tokens[i+1].text == "(" {
			if start, end, ok := brackets(r.tokens, i+1); ok {
				return splice(r.sql, start, end, r.qualify(ast.Unwrap(expr)))
			}
		}
	}
	r.problem(location, "the expression cannot be read")
	return ""
}
