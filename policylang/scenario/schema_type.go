package scenario

import (
	"github.com/posternhq/postern/policylang/internal/ast"
	"github.com/posternhq/postern/policylang/pgcatalog"
)

func (r *schemaReader) createEnum(n *ast.CreateEnumStmt) {
	schema, name := r.newName(r.splitName(nameParts(n.GetTypeName())))
	r.addType(pgcatalog.Type{
		Schema: schema, Name: name, Kind: pgcatalog.TypeEnum,
		Input: r.serverFunction("enum_in"), Output: r.serverFunction("enum_out"),
	})
}

func (r *schemaReader) createComposite(n *ast.CompositeTypeStmt) {
	schema, name := r.newName(n.GetTypevar().GetSchemaname(), n.GetTypevar().GetRelname())
	rel := &pgcatalog.Relation{Schema: schema, Name: name, Kind: pgcatalog.RelationComposite}
	for _, node := range n.GetColdeflist() {
		if def, ok := ast.Unwrap(node).(*ast.ColumnDef); ok {
			r.addColumn(rel, def)
		}
	}
	r.addRelation(rel)
}

func (r *schemaReader) createDomain(n *ast.CreateDomainStmt) {
	schema, name := r.newName(r.splitName(nameParts(n.GetDomainname())))
	base, modifier := r.typeOf(n.GetTypeName())
	t := pgcatalog.Type{Schema: schema, Name: name, Kind: pgcatalog.TypeDomain, Base: base, Modifier: max(modifier, 0), Input: r.serverFunction("domain_in")}
	if b := r.typeByOID(base); b != nil {
		t.Element, t.Output = b.Element, b.Output
	}
	for _, node := range n.GetConstraints() {
		if c, ok := ast.Unwrap(node).(*ast.Constraint); ok && c.GetContype() == ast.ConstrType_CONSTR_CHECK {
			t.Checks = append(t.Checks, r.bracketed(c.GetLocation(), c.GetRawExpr(), "check"))
		}
	}
	r.addType(t)
}
