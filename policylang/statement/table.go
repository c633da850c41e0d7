package statement

import (
	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/policylang/internal/ast"
)

// table reads definitions of relations and of what belongs to one.
func (c *collector) table(m any) (tag string, ok bool) {
	switch m := m.(type) {
	case *ast.CreateStmt:
		c.createStmt(m)
		return "CREATE TABLE", true
	case *ast.CreateForeignTableStmt:
		c.createStmt(m.GetBaseStmt())
		return "CREATE FOREIGN TABLE", true
	case *ast.AlterTableStmt:
		c.alterTableStmt(m)
		return alterTag(m.GetObjtype()), true
	case *ast.AlterTableMoveAllStmt:
		c.definition(policylang.ClassDDL)
		c.relation("", "", policylang.VerbAlter)
		return alterTag(m.GetObjtype()), true
	case *ast.ViewStmt:
		c.definition(policylang.ClassDDL)
		c.rangeVar(m.GetView(), policylang.VerbCreate)
		c.statement(ast.Unwrap(m.GetQuery()))
		return "CREATE VIEW", true
	case *ast.IndexStmt:
		c.indexStmt(m)
		return "CREATE INDEX", true
	case *ast.CreateSeqStmt:
		c.definition(policylang.ClassDDL)
		c.rangeVar(m.GetSequence(), policylang.VerbCreate)
		c.defineAll(m.GetOptions())
		return "CREATE SEQUENCE", true
	case *ast.AlterSeqStmt:
		c.definition(policylang.ClassDDL)
		c.rangeVar(m.GetSequence(), policylang.VerbAlter)
		c.defineAll(m.GetOptions())
		return "ALTER SEQUENCE", true
	case *ast.CreateStatsStmt:
		c.definition(policylang.ClassDDL)
		c.rangeVars(m.GetRelations(), policylang.VerbAlter)
		c.about(m.GetRelations(), func() { c.defineAll(m.GetExprs()) })
		return "CREATE STATISTICS", true
	case *ast.AlterStatsStmt:
		c.definition(policylang.ClassDDL)
		return "ALTER STATISTICS", true
	case *ast.CreateTrigStmt:
		c.createTrigStmt(m)
		return "CREATE TRIGGER", true
	case *ast.RuleStmt:
		c.ruleStmt(m)
		return "CREATE RULE", true
	case *ast.CreatePolicyStmt:
		c.policy(m.GetTable(), m.GetQual(), m.GetWithCheck())
		return "CREATE POLICY", true
	case *ast.AlterPolicyStmt:
		c.policy(m.GetTable(), m.GetQual(), m.GetWithCheck())
		return "ALTER POLICY", true
	}
	return "", false
}

func (c *collector) createStmt(m *ast.CreateStmt) {
	c.definition(policylang.ClassDDL)
	c.rangeVar(m.GetRelation(), policylang.VerbCreate)
	c.rangeVars(m.GetInhRelations(), policylang.VerbAlter)
	c.of(m.GetRelation(), func() {
		c.defineAll(m.GetTableElts())
		c.defineAll(m.GetConstraints())
		if m.GetPartspec() != nil {
			c.define(m.GetPartspec())
		}
		if m.GetPartbound() != nil {
			c.define(m.GetPartbound())
		}
	})
}

// of reads definitions in which a bare name is a column of one relation.
func (c *collector) of(r *ast.RangeVar, read func()) {
	c.push(false)
	c.scope.add(item{name: r.GetRelname(), schema: r.GetSchemaname(), table: r.GetRelname()})
	read()
	c.pop()
}

// about is [collector.of] for several relations.
func (c *collector) about(relations []*ast.Node, read func()) {
	c.push(false)
	for _, n := range relations {
		if r, ok := ast.Unwrap(n).(*ast.RangeVar); ok {
			c.scope.add(item{name: r.GetRelname(), schema: r.GetSchemaname(), table: r.GetRelname()})
		}
	}
	read()
	c.pop()
}

func (c *collector) indexStmt(m *ast.IndexStmt) {
	c.definition(policylang.ClassDDL)
	c.rangeVar(m.GetRelation(), policylang.VerbAlter)
	if m.GetIdxname() != "" {
		c.relation(m.GetRelation().GetSchemaname(), m.GetIdxname(), policylang.VerbCreate)
	}
	c.of(m.GetRelation(), func() {
		c.defineAll(m.GetIndexParams())
		c.defineAll(m.GetIndexIncludingParams())
		c.expr(m.GetWhereClause())
	})
}

func (c *collector) createTrigStmt(m *ast.CreateTrigStmt) {
	c.definition(policylang.ClassDDL)
	c.rangeVar(m.GetRelation(), policylang.VerbAlter)
	c.rangeVar(m.GetConstrrel(), policylang.VerbAlter)
	c.names(m.GetFuncname())
	c.oldAndNew(m.GetRelation(), func() { c.expr(m.GetWhenClause()) })
}

// oldAndNew reads what a trigger or rule says of the rows "old" and "new".
func (c *collector) oldAndNew(r *ast.RangeVar, read func()) {
	c.push(false)
	for _, name := range []string{"old", "new"} {
		c.scope.add(item{name: name, schema: r.GetSchemaname(), table: r.GetRelname()})
	}
	read()
	c.pop()
}

func (c *collector) ruleStmt(m *ast.RuleStmt) {
	c.definition(policylang.ClassDDL)
	c.rangeVar(m.GetRelation(), policylang.VerbAlter)
	c.oldAndNew(m.GetRelation(), func() {
		c.expr(m.GetWhereClause())
		for _, n := range m.GetActions() {
			c.statement(ast.Unwrap(n))
		}
	})
}

// policy reads a row security policy, which says who may see which rows.
func (c *collector) policy(r *ast.RangeVar, conditions ...*ast.Node) {
	c.definition(policylang.ClassRole)
	c.rangeVar(r, policylang.VerbAlter)
	c.of(r, func() { c.exprs(conditions) })
}

func (c *collector) alterTableStmt(m *ast.AlterTableStmt) {
	c.definition(policylang.ClassDDL)
	if m.GetObjtype() != ast.ObjectType_OBJECT_TYPE {
		c.rangeVar(m.GetRelation(), policylang.VerbAlter)
	}
	c.of(m.GetRelation(), func() {
		for _, n := range m.GetCmds() {
			cmd, ok := ast.Unwrap(n).(*ast.AlterTableCmd)
			if !ok {
				c.mystery()
				continue
			}
			c.alterTableCmd(m.GetRelation(), cmd)
		}
	})
}

func (c *collector) alterTableCmd(r *ast.RangeVar, cmd *ast.AlterTableCmd) {
	switch kind := cmd.GetSubtype(); {
	case among(kind, ast.AlterTableType_AT_ChangeOwner, ast.AlterTableType_AT_EnableRowSecurity, ast.AlterTableType_AT_DisableRowSecurity,
		ast.AlterTableType_AT_ForceRowSecurity, ast.AlterTableType_AT_NoForceRowSecurity):
		c.definition(policylang.ClassRole)
	case among(kind, ast.AlterTableType_AT_ColumnDefault, ast.AlterTableType_AT_DropNotNull, ast.AlterTableType_AT_SetNotNull, ast.AlterTableType_AT_DropExpression,
		ast.AlterTableType_AT_SetStatistics, ast.AlterTableType_AT_SetOptions, ast.AlterTableType_AT_ResetOptions, ast.AlterTableType_AT_SetStorage,
		ast.AlterTableType_AT_SetCompression, ast.AlterTableType_AT_DropColumn, ast.AlterTableType_AT_AlterColumnType,
		ast.AlterTableType_AT_AlterColumnGenericOptions, ast.AlterTableType_AT_AddIdentity, ast.AlterTableType_AT_SetIdentity, ast.AlterTableType_AT_DropIdentity):
		c.column(r.GetSchemaname(), r.GetRelname(), cmd.GetName())
	}
	if d, ok := ast.Unwrap(cmd.GetDef()).(*ast.ColumnDef); ok && d.GetColname() != "" {
		c.column(r.GetSchemaname(), r.GetRelname(), d.GetColname())
	}
	if cmd.GetDef() != nil {
		c.define(ast.Unwrap(cmd.GetDef()))
	}
}

// defineAll reads a list of [collector.define].
func (c *collector) defineAll(list []*ast.Node) {
	for _, n := range list {
		if m := ast.Unwrap(n); m != nil {
			c.define(m)
		}
	}
}

// define reads part of a definition: what is not an expression itself may have
// some inside. A relation in it is tied to what is defined, as the target of a
// foreign key or a partition.
func (c *collector) define(m any) {
	switch m := m.(type) {
	case *ast.RangeVar:
		c.rangeVar(m, policylang.VerbAlter)
	case *ast.TableLikeClause:
		c.rangeVar(m.GetRelation(), policylang.VerbRead)
	case *ast.CreateOpClassItem:
		if m.GetItemtype() == opClassFunction {
			c.names(m.GetName().GetObjname())
		}
	case *ast.TypeName, *ast.RoleSpec, *ast.CollateClause, *ast.AccessPriv, *ast.TriggerTransition, *ast.ObjectWithArgs, *ast.ReplicaIdentityStmt,
		*ast.String, *ast.Integer, *ast.Float, *ast.Boolean, *ast.BitString, *ast.A_Star, *ast.A_Const:
	case *ast.DefElem, *ast.List, *ast.ColumnDef, *ast.Constraint, *ast.PartitionSpec, *ast.PartitionBoundSpec, *ast.PartitionCmd, *ast.FunctionParameter:
		ast.Children(m, c.define)
	case *ast.PartitionElem:
		c.element(m.GetName(), m.GetExpr())
	case *ast.StatsElem:
		c.element(m.GetName(), m.GetExpr())
	case *ast.VariableSetStmt: // of ALTER ROLE, DATABASE and FUNCTION: for later
	default:
		c.node(m)
	}
}

// element reads a column or an expression of a partition key or of statistics.
func (c *collector) element(column string, expr *ast.Node) {
	if column != "" {
		c.bareColumn(column)
	}
	c.expr(expr)
}

// opClassFunction is PostgreSQL's OPCLASS_ITEM_FUNCTION.
const opClassFunction = 2

// names adds a function that a definition names but does not call.
func (c *collector) names(list []*ast.Node) {
	if len(list) > 0 {
		schema, name := qualifiedName(list)
		c.functions = append(c.functions, qualified(schema, name))
	}
}
