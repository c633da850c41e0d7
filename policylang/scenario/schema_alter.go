package scenario

import (
	"github.com/posternhq/postern/policylang/internal/ast"
	"github.com/posternhq/postern/policylang/pgcatalog"
)

func (r *schemaReader) alterTable(n *ast.AlterTableStmt) {
	rel := r.relation(n.GetRelation())
	if rel == nil {
		return
	}
	for _, node := range n.GetCmds() {
		if cmd, ok := ast.Unwrap(node).(*ast.AlterTableCmd); ok {
			r.alterTableCommand(rel, cmd)
		}
	}
}

func (r *schemaReader) alterTableCommand(rel *pgcatalog.Relation, cmd *ast.AlterTableCmd) {
	switch cmd.GetSubtype() {
	case ast.AlterTableType_AT_AddColumn:
		if def, ok := ast.Unwrap(cmd.GetDef()).(*ast.ColumnDef); ok {
			for _, c := range r.addColumn(rel, def) {
				r.addConstraint(rel, c)
			}
		}
	case ast.AlterTableType_AT_AddConstraint:
		if c, ok := ast.Unwrap(cmd.GetDef()).(*ast.Constraint); ok {
			r.addConstraint(rel, tableConstraint{c, ""})
		}
	case ast.AlterTableType_AT_AttachPartition:
		if p, ok := ast.Unwrap(cmd.GetDef()).(*ast.PartitionCmd); ok {
			r.attach(rel, p)
		}
	case ast.AlterTableType_AT_AddInherit:
		if v, ok := ast.Unwrap(cmd.GetDef()).(*ast.RangeVar); ok {
			if parent := r.relation(v); parent != nil {
				rel.Parents = append(rel.Parents, parent.OID)
			}
		}
	case ast.AlterTableType_AT_SetNotNull:
		if c := rel.ColumnNamed(cmd.GetName()); c != nil {
			c.NotNull = true
		}
	case ast.AlterTableType_AT_AddIdentity:
		if c := rel.ColumnNamed(cmd.GetName()); c != nil {
			c.Identity = true
		}
	case ast.AlterTableType_AT_ColumnDefault:
		r.setDefault(rel, cmd)
	case ast.AlterTableType_AT_EnableRowSecurity, ast.AlterTableType_AT_ForceRowSecurity:
		rel.RowSecurity = true
	case ast.AlterTableType_AT_ChangeOwner, ast.AlterTableType_AT_SetStatistics, ast.AlterTableType_AT_SetStorage,
		ast.AlterTableType_AT_ClusterOn, ast.AlterTableType_AT_SetRelOptions, ast.AlterTableType_AT_ReplicaIdentity,
		ast.AlterTableType_AT_SetOptions:
	default:
		r.problem(-1, "a schema file cannot have this form of ALTER TABLE")
	}
}

func (r *schemaReader) attach(parent *pgcatalog.Relation, p *ast.PartitionCmd) {
	if child := r.relation(p.GetName()); child != nil {
		child.Parents, child.Partition = append(child.Parents, parent.OID), true
		copyConstraints(child, parent, copied{keys: true})
	}
}

// setDefault reads ALTER TABLE ... ALTER COLUMN ... SET DEFAULT, which is the
// last thing in its statement as pg_dump writes it.
func (r *schemaReader) setDefault(rel *pgcatalog.Relation, cmd *ast.AlterTableCmd) {
	c := rel.ColumnNamed(cmd.GetName())
	i := find(r.tokens, 0, 0, "default")
	if c == nil || cmd.GetDef() == nil {
		return
	}
	if i < 0 || i+1 >= len(r.tokens) || find(r.tokens, i, 0, ",") >= 0 {
		r.problem(-1, "the default of %q cannot be read", cmd.GetName())
		return
	}
	c.Default = splice(r.sql, r.tokens[i+1].start, r.current.Offset+len(r.current.Text), r.qualify(ast.Unwrap(cmd.GetDef())))
}
