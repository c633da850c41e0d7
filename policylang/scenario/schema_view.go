package scenario

import (
	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/policylang/internal/ast"
	"github.com/posternhq/postern/policylang/lineage"
	"github.com/posternhq/postern/policylang/pgcatalog"
	"github.com/posternhq/postern/policylang/statement"
)

func (r *schemaReader) createView(n *ast.ViewStmt) {
	if find(r.tokens, 0, 0, "recursive") >= 0 && find(r.tokens, 0, 0, "recursive") < find(r.tokens, 0, 0, "view") {
		r.problem(-1, "a schema file cannot have recursive views; write the view with WITH RECURSIVE")
		return
	}
	end := r.current.Offset + len(r.current.Text)
	if n.GetWithCheckOption() > ast.ViewCheckOption_NO_CHECK_OPTION {
		end = r.tokens[lastWord(r.tokens, "with")].start
	}
	r.addView(n.GetView(), pgcatalog.RelationView, n.GetQuery(), end, nameParts(n.GetAliases()))
}

func (r *schemaReader) createMaterializedView(n *ast.CreateTableAsStmt) {
	if n.GetObjtype() != ast.ObjectType_OBJECT_MATVIEW {
		r.problem(-1, "a schema file cannot have %s; declare the table's columns", r.current.Facts.Command)
		return
	}
	end := r.current.Offset + len(r.current.Text)
	if last := len(r.tokens) - 1; last > 1 && r.tokens[last].text == "data" {
		end = r.tokens[lastWord(r.tokens, "with")].start
	}
	into := n.GetInto()
	r.addView(into.GetRel(), pgcatalog.RelationMaterializedView, n.GetQuery(), end, nameParts(into.GetColNames()))
}

// lastWord returns the index of the last token outside brackets that is the
// word.
func lastWord(ts []token, word string) int {
	last := 0
	for i, t := range ts {
		if t.depth == 0 && t.text == word {
			last = i
		}
	}
	return last
}

// addView adds a view whose query ends at end. Its columns are those of the
// query, which the analysis of columns names as PostgreSQL does.
func (r *schemaReader) addView(v *ast.RangeVar, kind pgcatalog.RelationKind, query *ast.Node, end int, aliases []string) {
	schema, name := r.newName(v.GetSchemaname(), v.GetRelname())
	as := find(r.tokens, 0, 0, "as")
	if as < 0 || as+1 >= len(r.tokens) {
		r.problem(-1, "the view's query cannot be read")
		return
	}
	definition := splice(r.sql, r.tokens[as+1].start, end, r.qualify(ast.Unwrap(query)))
	rel := &pgcatalog.Relation{
		Schema: schema, Name: name, Kind: kind, Definition: definition, Temporary: v.GetRelpersistence() == "t",
	}
	for i, c := range r.queryColumns(definition) {
		if i < len(aliases) {
			c.Name = aliases[i]
		}
		rel.Columns = append(rel.Columns, c)
	}
	r.addRelation(rel)
}

// queryColumns are the columns of a query whose names are all qualified.
func (r *schemaReader) queryColumns(query string) []pgcatalog.Column {
	tree, err := statement.Parse(query, statement.Limits{MaxBytes: maxSchemaBytes})
	if err != nil || len(tree.Statements) != 1 {
		r.problem(-1, "the view's query cannot be read")
		return nil
	}
	cat := r.namingCatalog()
	env := lineage.Environment{SearchPath: []string{"pg_catalog"}, Database: cat.Database}
	analysis, refusal := lineage.Analyze(&tree.Statements[0], env, cat, lineage.Protect(cat, &policylang.MaskSet{}))
	if refusal != nil {
		r.problem(-1, "the view's query cannot be followed: %s", refusal.Message)
		return nil
	}
	text := r.findType("pg_catalog", "text").OID
	columns := make([]pgcatalog.Column, len(analysis.Columns))
	for i, out := range analysis.Columns {
		columns[i] = pgcatalog.Column{Name: out.Name, Number: int16(i + 1), Type: out.TypeOID, Modifier: -1}
		if out.TypeOID == 0 {
			columns[i].Type = text
		}
	}
	return columns
}
