package statement

import (
	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/policylang/internal/ast"
)

// role reads changes of roles and privileges.
func (c *collector) role(m any) (tag string, ok bool) {
	switch m := m.(type) {
	case *ast.GrantStmt:
		c.grantStmt(m)
		tag = "REVOKE"
		if m.GetIsGrant() {
			tag = "GRANT"
		}
	case *ast.GrantRoleStmt:
		tag = "REVOKE ROLE"
		if m.GetIsGrant() {
			tag = "GRANT ROLE"
		}
	case *ast.AlterDefaultPrivilegesStmt:
		tag = "ALTER DEFAULT PRIVILEGES"
	case *ast.CreateRoleStmt:
		tag = "CREATE ROLE"
	case *ast.AlterRoleStmt, *ast.AlterRoleSetStmt:
		tag = "ALTER ROLE"
	case *ast.DropRoleStmt:
		tag = "DROP ROLE"
	case *ast.DropOwnedStmt:
		c.relation("", "", policylang.VerbDrop)
		tag = "DROP OWNED"
	case *ast.ReassignOwnedStmt:
		c.relation("", "", policylang.VerbAlter)
		tag = "REASSIGN OWNED"
	case *ast.CreateUserMappingStmt:
		tag = "CREATE USER MAPPING"
	case *ast.AlterUserMappingStmt:
		tag = "ALTER USER MAPPING"
	case *ast.DropUserMappingStmt:
		tag = "DROP USER MAPPING"
	default:
		return "", false
	}
	c.definition(policylang.ClassRole)
	return tag, true
}

func (c *collector) grantStmt(m *ast.GrantStmt) {
	relational := m.GetObjtype() == ast.ObjectType_OBJECT_TABLE || m.GetObjtype() == ast.ObjectType_OBJECT_SEQUENCE
	for _, n := range m.GetObjects() {
		switch o := ast.Unwrap(n).(type) {
		case *ast.RangeVar:
			c.rangeVar(o, policylang.VerbGrant)
			c.grantedColumns(o, m.GetPrivileges())
		case *ast.String:
			if relational && m.GetTargtype() == ast.GrantTargetType_ACL_TARGET_ALL_IN_SCHEMA {
				c.relation(o.GetSval(), "", policylang.VerbGrant)
			}
		case *ast.ObjectWithArgs:
			c.names(o.GetObjname())
		}
	}
}

func (c *collector) grantedColumns(r *ast.RangeVar, privileges []*ast.Node) {
	for _, n := range privileges {
		p, ok := ast.Unwrap(n).(*ast.AccessPriv)
		if !ok {
			continue
		}
		for _, name := range stringList(p.GetCols()) {
			c.column(r.GetSchemaname(), r.GetRelname(), name)
		}
	}
}

// server reads what reaches beyond the database: the server's configuration and
// files, other servers, replication.
func (c *collector) server(m any) (tag string, ok bool) {
	class := policylang.ClassRole
	switch m := m.(type) {
	case *ast.AlterSystemStmt:
		tag = "ALTER SYSTEM"
	case *ast.AlterDatabaseSetStmt:
		tag = "ALTER DATABASE"
	case *ast.CheckPointStmt:
		tag = "CHECKPOINT"
	case *ast.LoadStmt:
		c.opaque()
		tag = "LOAD"
	case *ast.CreateTableSpaceStmt:
		tag = "CREATE TABLESPACE"
	case *ast.DropTableSpaceStmt:
		tag = "DROP TABLESPACE"
	case *ast.AlterTableSpaceOptionsStmt:
		tag = "ALTER TABLESPACE"
	case *ast.CreatePublicationStmt:
		c.published(m.GetForAllTables(), m.GetPubobjects())
		tag = "CREATE PUBLICATION"
	case *ast.AlterPublicationStmt:
		c.published(m.GetForAllTables(), m.GetPubobjects())
		tag = "ALTER PUBLICATION"
	case *ast.CreateSubscriptionStmt:
		c.opaque()
		tag = "CREATE SUBSCRIPTION"
	case *ast.AlterSubscriptionStmt:
		c.opaque()
		tag = "ALTER SUBSCRIPTION"
	case *ast.DropSubscriptionStmt:
		tag = "DROP SUBSCRIPTION"
	default:
		class = policylang.ClassDDL
		if tag = c.foreign(m); tag == "" {
			return "", false
		}
	}
	c.definition(class)
	return tag, true
}

// foreign reads definitions of databases and foreign servers.
func (c *collector) foreign(m any) (tag string) {
	switch m := m.(type) {
	case *ast.CreatedbStmt:
		return "CREATE DATABASE"
	case *ast.AlterDatabaseStmt, *ast.AlterDatabaseRefreshCollStmt:
		return "ALTER DATABASE"
	case *ast.DropdbStmt:
		c.relation("", "", policylang.VerbDrop)
		return "DROP DATABASE"
	case *ast.CreateFdwStmt:
		return "CREATE FOREIGN DATA WRAPPER"
	case *ast.AlterFdwStmt:
		return "ALTER FOREIGN DATA WRAPPER"
	case *ast.CreateForeignServerStmt:
		return "CREATE SERVER"
	case *ast.AlterForeignServerStmt:
		return "ALTER SERVER"
	case *ast.ImportForeignSchemaStmt:
		c.relation(m.GetLocalSchema(), "", policylang.VerbCreate)
		return "IMPORT FOREIGN SCHEMA"
	}
	return ""
}

// published adds the relations whose rows a publication hands out.
func (c *collector) published(all bool, objects []*ast.Node) {
	if all {
		c.relation("", "", policylang.VerbGrant)
	}
	for _, n := range objects {
		o, ok := ast.Unwrap(n).(*ast.PublicationObjSpec)
		if !ok {
			c.mystery()
			continue
		}
		t := o.GetPubtable()
		if t == nil {
			c.relation(o.GetName(), "", policylang.VerbGrant)
			continue
		}
		c.rangeVar(t.GetRelation(), policylang.VerbGrant)
		c.of(t.GetRelation(), func() { c.expr(t.GetWhereClause()) })
	}
}
