package statement

import "github.com/posternhq/postern/policylang"

// table reads definitions of relations and of what belongs to one.
func (c *collector) table(m any) (tag string, ok bool) {
	switch m := m.(type) {
	case *CreateStmt:
		c.createStmt(m)
		return "CREATE TABLE", true
	case *CreateForeignTableStmt:
		c.createStmt(m.GetBaseStmt())
		return "CREATE FOREIGN TABLE", true
	case *AlterTableStmt:
		c.alterTableStmt(m)
		return alterTag(m.GetObjtype()), true
	case *AlterTableMoveAllStmt:
		c.definition(policylang.ClassDDL)
		c.relation("", "", policylang.VerbAlter)
		return alterTag(m.GetObjtype()), true
	case *ViewStmt:
		c.definition(policylang.ClassDDL)
		c.rangeVar(m.GetView(), policylang.VerbCreate)
		c.statement(Unwrap(m.GetQuery()))
		return "CREATE VIEW", true
	case *IndexStmt:
		c.indexStmt(m)
		return "CREATE INDEX", true
	case *CreateSeqStmt:
		c.definition(policylang.ClassDDL)
		c.rangeVar(m.GetSequence(), policylang.VerbCreate)
		c.defineAll(m.GetOptions())
		return "CREATE SEQUENCE", true
	case *AlterSeqStmt:
		c.definition(policylang.ClassDDL)
		c.rangeVar(m.GetSequence(), policylang.VerbAlter)
		c.defineAll(m.GetOptions())
		return "ALTER SEQUENCE", true
	case *CreateStatsStmt:
		c.definition(policylang.ClassDDL)
		c.rangeVars(m.GetRelations(), policylang.VerbAlter)
		c.about(m.GetRelations(), func() { c.defineAll(m.GetExprs()) })
		return "CREATE STATISTICS", true
	case *AlterStatsStmt:
		c.definition(policylang.ClassDDL)
		return "ALTER STATISTICS", true
	case *CreateTrigStmt:
		c.createTrigStmt(m)
		return "CREATE TRIGGER", true
	case *RuleStmt:
		c.ruleStmt(m)
		return "CREATE RULE", true
	case *CreatePolicyStmt:
		c.policy(m.GetTable(), m.GetQual(), m.GetWithCheck())
		return "CREATE POLICY", true
	case *AlterPolicyStmt:
		c.policy(m.GetTable(), m.GetQual(), m.GetWithCheck())
		return "ALTER POLICY", true
	}
	return "", false
}

func (c *collector) createStmt(m *CreateStmt) {
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
func (c *collector) of(r *RangeVar, read func()) {
	c.push(false)
	c.scope.add(item{name: r.GetRelname(), schema: r.GetSchemaname(), table: r.GetRelname()})
	read()
	c.pop()
}

// about is [collector.of] for several relations.
func (c *collector) about(relations []*Node, read func()) {
	c.push(false)
	for _, n := range relations {
		if r, ok := Unwrap(n).(*RangeVar); ok {
			c.scope.add(item{name: r.GetRelname(), schema: r.GetSchemaname(), table: r.GetRelname()})
		}
	}
	read()
	c.pop()
}

func (c *collector) indexStmt(m *IndexStmt) {
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

func (c *collector) createTrigStmt(m *CreateTrigStmt) {
	c.definition(policylang.ClassDDL)
	c.rangeVar(m.GetRelation(), policylang.VerbAlter)
	c.rangeVar(m.GetConstrrel(), policylang.VerbAlter)
	c.names(m.GetFuncname())
	c.oldAndNew(m.GetRelation(), func() { c.expr(m.GetWhenClause()) })
}

// oldAndNew reads what a trigger or rule says of the rows "old" and "new".
func (c *collector) oldAndNew(r *RangeVar, read func()) {
	c.push(false)
	for _, name := range []string{"old", "new"} {
		c.scope.add(item{name: name, schema: r.GetSchemaname(), table: r.GetRelname()})
	}
	read()
	c.pop()
}

func (c *collector) ruleStmt(m *RuleStmt) {
	c.definition(policylang.ClassDDL)
	c.rangeVar(m.GetRelation(), policylang.VerbAlter)
	c.oldAndNew(m.GetRelation(), func() {
		c.expr(m.GetWhereClause())
		for _, n := range m.GetActions() {
			c.statement(Unwrap(n))
		}
	})
}

// policy reads a row security policy, which says who may see which rows.
func (c *collector) policy(r *RangeVar, conditions ...*Node) {
	c.definition(policylang.ClassRole)
	c.rangeVar(r, policylang.VerbAlter)
	c.of(r, func() { c.exprs(conditions) })
}

func (c *collector) alterTableStmt(m *AlterTableStmt) {
	c.definition(policylang.ClassDDL)
	if m.GetObjtype() != ObjectType_OBJECT_TYPE {
		c.rangeVar(m.GetRelation(), policylang.VerbAlter)
	}
	c.of(m.GetRelation(), func() {
		for _, n := range m.GetCmds() {
			cmd, ok := Unwrap(n).(*AlterTableCmd)
			if !ok {
				c.mystery()
				continue
			}
			c.alterTableCmd(m.GetRelation(), cmd)
		}
	})
}

func (c *collector) alterTableCmd(r *RangeVar, cmd *AlterTableCmd) {
	switch kind := cmd.GetSubtype(); {
	case among(kind, AlterTableType_AT_ChangeOwner, AlterTableType_AT_EnableRowSecurity, AlterTableType_AT_DisableRowSecurity,
		AlterTableType_AT_ForceRowSecurity, AlterTableType_AT_NoForceRowSecurity):
		c.definition(policylang.ClassRole)
	case among(kind, AlterTableType_AT_ColumnDefault, AlterTableType_AT_DropNotNull, AlterTableType_AT_SetNotNull, AlterTableType_AT_DropExpression,
		AlterTableType_AT_SetStatistics, AlterTableType_AT_SetOptions, AlterTableType_AT_ResetOptions, AlterTableType_AT_SetStorage,
		AlterTableType_AT_SetCompression, AlterTableType_AT_DropColumn, AlterTableType_AT_AlterColumnType,
		AlterTableType_AT_AlterColumnGenericOptions, AlterTableType_AT_AddIdentity, AlterTableType_AT_SetIdentity, AlterTableType_AT_DropIdentity):
		c.column(r.GetSchemaname(), r.GetRelname(), cmd.GetName())
	}
	if d, ok := Unwrap(cmd.GetDef()).(*ColumnDef); ok && d.GetColname() != "" {
		c.column(r.GetSchemaname(), r.GetRelname(), d.GetColname())
	}
	if cmd.GetDef() != nil {
		c.define(Unwrap(cmd.GetDef()))
	}
}

// defineAll reads a list of [collector.define].
func (c *collector) defineAll(list []*Node) {
	for _, n := range list {
		if m := Unwrap(n); m != nil {
			c.define(m)
		}
	}
}

// define reads part of a definition: what is not an expression itself may have
// some inside. A relation in it is tied to what is defined, as the target of a
// foreign key or a partition.
func (c *collector) define(m any) {
	switch m := m.(type) {
	case *RangeVar:
		c.rangeVar(m, policylang.VerbAlter)
	case *TableLikeClause:
		c.rangeVar(m.GetRelation(), policylang.VerbRead)
	case *CreateOpClassItem:
		if m.GetItemtype() == opClassFunction {
			c.names(m.GetName().GetObjname())
		}
	case *TypeName, *RoleSpec, *CollateClause, *AccessPriv, *TriggerTransition, *ObjectWithArgs, *ReplicaIdentityStmt,
		*String, *Integer, *Float, *Boolean, *BitString, *A_Star, *A_Const:
	case *DefElem, *List, *ColumnDef, *Constraint, *PartitionSpec, *PartitionBoundSpec, *PartitionCmd, *FunctionParameter:
		Children(m, c.define)
	case *PartitionElem:
		c.element(m.GetName(), m.GetExpr())
	case *StatsElem:
		c.element(m.GetName(), m.GetExpr())
	case *VariableSetStmt: // of ALTER ROLE, DATABASE and FUNCTION: for later
	default:
		c.node(m)
	}
}

// element reads a column or an expression of a partition key or of statistics.
func (c *collector) element(column string, expr *Node) {
	if column != "" {
		c.bareColumn(column)
	}
	c.expr(expr)
}

// opClassFunction is PostgreSQL's OPCLASS_ITEM_FUNCTION.
const opClassFunction = 2

// names adds a function that a definition names but does not call.
func (c *collector) names(list []*Node) {
	if len(list) > 0 {
		schema, name := qualifiedName(list)
		c.functions = append(c.functions, qualified(schema, name))
	}
}
