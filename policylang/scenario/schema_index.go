package scenario

import (
	"slices"

	"github.com/posternhq/postern/policylang/internal/ast"
	"github.com/posternhq/postern/policylang/pgcatalog"
)

func (r *schemaReader) createSequence(v *ast.RangeVar) {
	schema, name := r.newName(v.GetSchemaname(), v.GetRelname())
	r.addRelation(&pgcatalog.Relation{Schema: schema, Name: name, Kind: pgcatalog.RelationSequence, Columns: r.sequenceColumns()})
}

// sequenceColumns are the columns that every sequence has.
func (r *schemaReader) sequenceColumns() []pgcatalog.Column {
	column := func(number int16, name, typ string) pgcatalog.Column {
		return pgcatalog.Column{Name: name, Number: number, Type: r.findType("pg_catalog", typ).OID, Modifier: -1, NotNull: true}
	}
	return []pgcatalog.Column{column(1, "last_value", "int8"), column(2, "log_cnt", "int8"), column(3, "is_called", "bool")}
}

func (r *schemaReader) createIndex(n *ast.IndexStmt) {
	rel := r.relation(n.GetRelation())
	if rel == nil {
		return
	}
	index := pgcatalog.Index{Name: n.GetIdxname(), Unique: n.GetUnique()}
	for _, node := range n.GetIndexParams() {
		e, ok := ast.Unwrap(node).(*ast.IndexElem)
		switch c := rel.ColumnNamed(e.GetName()); {
		case !ok:
		case c != nil && e.GetExpr() == nil:
			index.Columns = append(index.Columns, c.Number)
		case e.GetExpr() != nil:
			index.Columns = append(index.Columns, 0)
		default:
			r.problem(-1, "%q has no column %q", dotted(rel.Schema, rel.Name), e.GetName())
		}
	}
	r.indexTexts(n, &index)
	rel.Indexes = append(rel.Indexes, index)
}

// indexTexts reads what an index computes. The expressions are kept as the
// whole list, which is all that is asked of them.
func (r *schemaReader) indexTexts(n *ast.IndexStmt, index *pgcatalog.Index) {
	insertions := r.qualify(n)
	if slices.Contains(index.Columns, 0) {
		if start, end, ok := brackets(r.tokens, find(r.tokens, 0, 0, "(")); ok {
			index.Expressions = splice(r.sql, start, end, insertions)
		}
	}
	if i := find(r.tokens, 0, 0, "where"); n.GetWhereClause() != nil && i >= 0 && i+1 < len(r.tokens) {
		index.Predicate = splice(r.sql, r.tokens[i+1].start, r.current.Offset+len(r.current.Text), insertions)
	}
}
