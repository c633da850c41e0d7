package scenario

import (
	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/policylang/internal/ast"
)

func (r *schemaReader) createEnum(n *ast.CreateEnumStmt) {
	schema, name := r.newName(r.splitName(nameParts(n.GetTypeName())))
	r.addType(policylang.Type{
		Schema: schema, Name: name, Kind: policylang.TypeEnum,
		Input: r.serverFunction("enum_in"), Output: r.serverFunction("enum_out"),
	})
}

func (r *schemaReader) createComposite(n *ast.CompositeTypeStmt) {
	schema, name := r.newName(n.GetTypevar().GetSchemaname(), n.GetTypevar().GetRelname())
	rel := &policylang.CatalogRelation{Schema: schema, Name: name, Kind: policylang.RelationComposite}
	for _, node := range n.GetColdeflist() {
		if def, ok := ast.Unwrap(node).(*ast.ColumnDef); ok {
			r.addColumn(rel, def)
		}
	}
	r.addRelation(rel)
}

func (r *schemaReader) createDomain(n *ast.CreateDomainStmt) {
	schema, name := r.newName(r.splitName(nameParts(n.GetDomainname())))
	base, _ := r.typeOf(n.GetTypeName())
	t := policylang.Type{Schema: schema, Name: name, Kind: policylang.TypeDomain, Base: base, Input: r.serverFunction("domain_in")}
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
