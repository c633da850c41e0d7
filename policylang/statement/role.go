package statement

import "github.com/posternhq/postern/policylang"

// role reads changes of roles and privileges.
func (c *collector) role(m any) (tag string, ok bool) {
	switch m := m.(type) {
	case *GrantStmt:
		c.grantStmt(m)
		tag = "REVOKE"
		if m.GetIsGrant() {
			tag = "GRANT"
		}
	case *GrantRoleStmt:
		tag = "REVOKE ROLE"
		if m.GetIsGrant() {
			tag = "GRANT ROLE"
		}
	case *AlterDefaultPrivilegesStmt:
		tag = "ALTER DEFAULT PRIVILEGES"
	case *CreateRoleStmt:
		tag = "CREATE ROLE"
	case *AlterRoleStmt, *AlterRoleSetStmt:
		tag = "ALTER ROLE"
	case *DropRoleStmt:
		tag = "DROP ROLE"
	case *DropOwnedStmt:
		c.relation("", "", policylang.VerbDrop)
		tag = "DROP OWNED"
	case *ReassignOwnedStmt:
		c.relation("", "", policylang.VerbAlter)
		tag = "REASSIGN OWNED"
	case *CreateUserMappingStmt:
		tag = "CREATE USER MAPPING"
	case *AlterUserMappingStmt:
		tag = "ALTER USER MAPPING"
	case *DropUserMappingStmt:
		tag = "DROP USER MAPPING"
	default:
		return "", false
	}
	c.definition(policylang.ClassRole)
	return tag, true
}

func (c *collector) grantStmt(m *GrantStmt) {
	relational := m.GetObjtype() == ObjectType_OBJECT_TABLE || m.GetObjtype() == ObjectType_OBJECT_SEQUENCE
	for _, n := range m.GetObjects() {
		switch o := Unwrap(n).(type) {
		case *RangeVar:
			c.rangeVar(o, policylang.VerbGrant)
			c.grantedColumns(o, m.GetPrivileges())
		case *String:
			if relational && m.GetTargtype() == GrantTargetType_ACL_TARGET_ALL_IN_SCHEMA {
				c.relation(o.GetSval(), "", policylang.VerbGrant)
			}
		case *ObjectWithArgs:
			c.names(o.GetObjname())
		}
	}
}

func (c *collector) grantedColumns(r *RangeVar, privileges []*Node) {
	for _, n := range privileges {
		p, ok := Unwrap(n).(*AccessPriv)
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
	case *AlterSystemStmt:
		tag = "ALTER SYSTEM"
	case *AlterDatabaseSetStmt:
		tag = "ALTER DATABASE"
	case *CheckPointStmt:
		tag = "CHECKPOINT"
	case *LoadStmt:
		c.opaque()
		tag = "LOAD"
	case *CreateTableSpaceStmt:
		tag = "CREATE TABLESPACE"
	case *DropTableSpaceStmt:
		tag = "DROP TABLESPACE"
	case *AlterTableSpaceOptionsStmt:
		tag = "ALTER TABLESPACE"
	case *CreatePublicationStmt:
		c.published(m.GetForAllTables(), m.GetPubobjects())
		tag = "CREATE PUBLICATION"
	case *AlterPublicationStmt:
		c.published(m.GetForAllTables(), m.GetPubobjects())
		tag = "ALTER PUBLICATION"
	case *CreateSubscriptionStmt:
		c.opaque()
		tag = "CREATE SUBSCRIPTION"
	case *AlterSubscriptionStmt:
		c.opaque()
		tag = "ALTER SUBSCRIPTION"
	case *DropSubscriptionStmt:
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
	case *CreatedbStmt:
		return "CREATE DATABASE"
	case *AlterDatabaseStmt, *AlterDatabaseRefreshCollStmt:
		return "ALTER DATABASE"
	case *DropdbStmt:
		c.relation("", "", policylang.VerbDrop)
		return "DROP DATABASE"
	case *CreateFdwStmt:
		return "CREATE FOREIGN DATA WRAPPER"
	case *AlterFdwStmt:
		return "ALTER FOREIGN DATA WRAPPER"
	case *CreateForeignServerStmt:
		return "CREATE SERVER"
	case *AlterForeignServerStmt:
		return "ALTER SERVER"
	case *ImportForeignSchemaStmt:
		c.relation(m.GetLocalSchema(), "", policylang.VerbCreate)
		return "IMPORT FOREIGN SCHEMA"
	}
	return ""
}

// published adds the relations whose rows a publication hands out.
func (c *collector) published(all bool, objects []*Node) {
	if all {
		c.relation("", "", policylang.VerbGrant)
	}
	for _, n := range objects {
		o, ok := Unwrap(n).(*PublicationObjSpec)
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
