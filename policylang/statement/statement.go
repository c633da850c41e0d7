package statement

import (
	"strings"

	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/policylang/internal/ast"
)

// statement reads a statement and all that nests in it, and returns its
// command tag. There is a case for each statement of the grammar; anything
// else is a mystery, and a test holds the two against each other.
func (c *collector) statement(m any) string {
	tag := c.dispatch(m)
	c.command(tag)
	return tag
}

func (c *collector) command(tag string) {
	if tag != "" {
		c.commands = append(c.commands, tag)
	}
}

func (c *collector) dispatch(m any) string {
	tag, ok := c.query(m)
	for _, family := range []func(*collector, any) (string, bool){
		(*collector).session, (*collector).utility, (*collector).table, (*collector).routine,
		(*collector).object, (*collector).role, (*collector).server,
	} {
		if ok {
			return tag
		}
		tag, ok = family(c, m)
	}
	if !ok {
		c.mystery()
	}
	return tag
}

// query reads what the optimizer plans, and what holds such a statement.
func (c *collector) query(m any) (tag string, ok bool) {
	switch m := m.(type) {
	case *ast.SelectStmt:
		c.selectStmt(m)
		if m.GetIntoClause() != nil {
			return "SELECT INTO", true
		}
		return "SELECT", true
	case *ast.InsertStmt:
		c.insertStmt(m)
		return "INSERT", true
	case *ast.UpdateStmt:
		c.updateStmt(m)
		return "UPDATE", true
	case *ast.DeleteStmt:
		c.deleteStmt(m)
		return "DELETE", true
	case *ast.MergeStmt:
		c.mergeStmt(m)
		return "MERGE", true
	case *ast.ReturnStmt: // of a function's SQL body
		c.raise(policylang.ClassRead)
		c.expr(m.GetReturnval())
		return "SELECT", true
	case *ast.ExplainStmt:
		c.explainStmt(m)
		return "EXPLAIN", true
	case *ast.CreateTableAsStmt:
		c.statement(ast.Unwrap(m.GetQuery()))
		c.into(m.GetInto())
		switch {
		case m.GetObjtype() == ast.ObjectType_OBJECT_MATVIEW:
			return "CREATE MATERIALIZED VIEW", true
		case m.GetIsSelectInto():
			return "SELECT INTO", true
		}
		return "CREATE TABLE AS", true
	case *ast.RefreshMatViewStmt:
		c.raise(policylang.ClassRead)
		c.definition(policylang.ClassDDL)
		c.rangeVar(m.GetRelation(), policylang.VerbMaintain)
		return "REFRESH MATERIALIZED VIEW", true
	case *ast.CopyStmt:
		c.copyStmt(m)
		return "COPY", true
	case *ast.TruncateStmt:
		c.truncateStmt(m)
		return "TRUNCATE TABLE", true
	}
	return "", false
}

func (c *collector) explainStmt(m *ast.ExplainStmt) {
	c.raise(policylang.ClassRead)
	planned := c.planned
	c.planned = planned || !runs(m)
	c.statement(ast.Unwrap(m.GetQuery()))
	c.planned = planned
}

// runs reports whether an EXPLAIN runs its statement: if any ANALYZE in it is
// not plainly off.
func runs(m *ast.ExplainStmt) bool {
	for _, n := range m.GetOptions() {
		if d, ok := ast.Unwrap(n).(*ast.DefElem); ok && d.GetDefname() == "analyze" && !plainlyOff(d.GetArg()) {
			return true
		}
	}
	return false
}

// plainlyOff reports whether an option's value is false as PostgreSQL writes
// it.
func plainlyOff(n *ast.Node) bool {
	switch m := ast.Unwrap(n).(type) {
	case *ast.Integer:
		return m.GetIval() == 0
	case *ast.Boolean:
		return !m.GetBoolval()
	case *ast.String:
		return booleanText(m.GetSval()) == never
	}
	return false
}

func (c *collector) copyStmt(m *ast.CopyStmt) {
	c.raise(policylang.ClassRead)
	if q := m.GetQuery(); q != nil {
		c.statement(ast.Unwrap(q))
	}
	if r := m.GetRelation(); r != nil {
		c.push(false)
		defer c.pop()
		it := c.targetItem(r)
		if m.GetIsFrom() {
			c.write(r, policylang.VerbInsert)
		} else {
			c.rangeVar(r, policylang.VerbRead)
		}
		if len(m.GetAttlist()) == 0 {
			c.column(it.schema, it.table, "")
		}
		for _, name := range stringList(m.GetAttlist()) {
			c.column(it.schema, it.table, name)
		}
		c.expr(m.GetWhereClause())
	}
	if m.GetIsProgram() || m.GetFilename() != "" {
		c.change(policylang.ClassRole)
		c.dynamic = c.dynamic || m.GetIsProgram()
	}
}

func (c *collector) truncateStmt(m *ast.TruncateStmt) {
	for _, n := range m.GetRelations() {
		if r, ok := ast.Unwrap(n).(*ast.RangeVar); ok {
			c.write(r, policylang.VerbTruncate)
		}
	}
	if m.GetBehavior() == ast.DropBehavior_DROP_CASCADE {
		c.relation("", "", policylang.VerbTruncate) // whatever refers to them
	}
	c.filtered = c.filtered && c.planned
}

// session reads what changes the session or its transaction.
func (c *collector) session(m any) (tag string, ok bool) {
	switch m := m.(type) {
	case *ast.TransactionStmt:
		return c.transactionStmt(m), true
	case *ast.VariableSetStmt:
		return c.variableSetStmt(m), true
	case *ast.VariableShowStmt:
		c.raise(policylang.ClassMisc)
		return "SHOW", true
	case *ast.ConstraintsSetStmt:
		c.raise(policylang.ClassMisc)
		return "SET CONSTRAINTS", true
	case *ast.PrepareStmt:
		c.statement(ast.Unwrap(m.GetQuery()))
		return "PREPARE", true
	case *ast.ExecuteStmt:
		c.exprs(m.GetParams())
		c.opaque()
		return "EXECUTE", true
	case *ast.DeallocateStmt:
		c.raise(policylang.ClassMisc)
		if m.GetName() == "" {
			return "DEALLOCATE ALL", true
		}
		return "DEALLOCATE", true
	case *ast.DeclareCursorStmt:
		c.statement(ast.Unwrap(m.GetQuery()))
		return "DECLARE CURSOR", true
	case *ast.FetchStmt:
		c.change(policylang.ClassRead)
		c.dynamic = true
		if m.GetIsmove() {
			return "MOVE", true
		}
		return "FETCH", true
	case *ast.ClosePortalStmt:
		c.raise(policylang.ClassMisc)
		if m.GetPortalname() == "" {
			return "CLOSE CURSOR ALL", true
		}
		return "CLOSE CURSOR", true
	case *ast.DiscardStmt:
		c.raise(policylang.ClassMisc)
		return "DISCARD " + strings.ToUpper(discarded(m.GetTarget())), true
	case *ast.ListenStmt:
		c.change(policylang.ClassMisc)
		return "LISTEN", true
	case *ast.UnlistenStmt:
		c.raise(policylang.ClassMisc)
		return "UNLISTEN", true
	case *ast.NotifyStmt:
		c.change(policylang.ClassMisc)
		return "NOTIFY", true
	}
	return "", false
}

func (c *collector) transactionStmt(m *ast.TransactionStmt) string {
	c.raise(policylang.ClassMisc)
	switch m.GetKind() {
	case ast.TransactionStmtKind_TRANS_STMT_BEGIN:
		return "BEGIN"
	case ast.TransactionStmtKind_TRANS_STMT_START:
		return "START TRANSACTION"
	case ast.TransactionStmtKind_TRANS_STMT_COMMIT:
		return "COMMIT"
	case ast.TransactionStmtKind_TRANS_STMT_ROLLBACK, ast.TransactionStmtKind_TRANS_STMT_ROLLBACK_TO:
		return "ROLLBACK"
	case ast.TransactionStmtKind_TRANS_STMT_SAVEPOINT:
		return "SAVEPOINT"
	case ast.TransactionStmtKind_TRANS_STMT_RELEASE:
		return "RELEASE"
	// A prepared transaction outlives the session, and what it holds was
	// decided in another: its end is neither read-only nor readable.
	case ast.TransactionStmtKind_TRANS_STMT_PREPARE:
		c.change(policylang.ClassWrite)
		return "PREPARE TRANSACTION"
	case ast.TransactionStmtKind_TRANS_STMT_COMMIT_PREPARED:
		c.opaque()
		return "COMMIT PREPARED"
	case ast.TransactionStmtKind_TRANS_STMT_ROLLBACK_PREPARED:
		c.opaque()
		return "ROLLBACK PREPARED"
	case ast.TransactionStmtKind_TRANSACTION_STMT_KIND_UNDEFINED:
	}
	c.mystery()
	return ""
}

func (c *collector) variableSetStmt(m *ast.VariableSetStmt) string {
	if setsTransaction(m) {
		c.raise(policylang.ClassMisc)
		return "SET"
	}
	c.change(policylang.ClassMisc)
	name := parameterName(m)
	if changesIdentity(name) {
		c.change(policylang.ClassRole)
	}
	switch m.GetKind() {
	case ast.VariableSetKind_VAR_RESET:
		c.assigns = append(c.assigns, name)
		return "RESET"
	case ast.VariableSetKind_VAR_RESET_ALL:
		return "RESET"
	case ast.VariableSetKind_VAR_SET_MULTI:
		if m.GetName() == "SESSION CHARACTERISTICS" {
			c.assigns = append(c.assigns, "default_transaction_isolation", "default_transaction_read_only", "default_transaction_deferrable")
			return "SET"
		}
		c.mystery()
		return "SET"
	case ast.VariableSetKind_VAR_SET_VALUE, ast.VariableSetKind_VAR_SET_DEFAULT, ast.VariableSetKind_VAR_SET_CURRENT:
		c.assigns = append(c.assigns, name)
		return "SET"
	case ast.VariableSetKind_VARIABLE_SET_KIND_UNDEFINED:
	}
	c.mystery()
	return "SET"
}

// setsTransaction reports whether a SET concerns the current transaction alone.
func setsTransaction(m *ast.VariableSetStmt) bool {
	return m.GetKind() == ast.VariableSetKind_VAR_SET_MULTI && (m.GetName() == "TRANSACTION" || m.GetName() == "TRANSACTION SNAPSHOT")
}

// onlyTransaction reports whether a statement only controls the transaction or
// reads or releases session state.
func onlyTransaction(m any) bool {
	switch m := m.(type) {
	case *ast.TransactionStmt:
		switch m.GetKind() {
		case ast.TransactionStmtKind_TRANS_STMT_BEGIN, ast.TransactionStmtKind_TRANS_STMT_START, ast.TransactionStmtKind_TRANS_STMT_COMMIT,
			ast.TransactionStmtKind_TRANS_STMT_ROLLBACK, ast.TransactionStmtKind_TRANS_STMT_ROLLBACK_TO,
			ast.TransactionStmtKind_TRANS_STMT_SAVEPOINT, ast.TransactionStmtKind_TRANS_STMT_RELEASE:
			return true
		case ast.TransactionStmtKind_TRANS_STMT_PREPARE, ast.TransactionStmtKind_TRANS_STMT_COMMIT_PREPARED,
			ast.TransactionStmtKind_TRANS_STMT_ROLLBACK_PREPARED, ast.TransactionStmtKind_TRANSACTION_STMT_KIND_UNDEFINED:
		}
	case *ast.VariableSetStmt:
		return setsTransaction(m)
	case *ast.VariableShowStmt, *ast.ConstraintsSetStmt, *ast.DeallocateStmt, *ast.DiscardStmt, *ast.ClosePortalStmt, *ast.UnlistenStmt:
		return true
	}
	return false
}

// utility reads maintenance, locks and calls.
func (c *collector) utility(m any) (tag string, ok bool) {
	switch m := m.(type) {
	case *ast.LockStmt:
		c.change(policylang.ClassWrite)
		c.rangeVars(m.GetRelations(), policylang.VerbLock)
		return "LOCK TABLE", true
	case *ast.VacuumStmt:
		return c.vacuumStmt(m), true
	case *ast.ClusterStmt:
		c.definition(policylang.ClassDDL)
		if m.GetRelation() == nil {
			c.relation("", "", policylang.VerbMaintain)
		}
		c.rangeVar(m.GetRelation(), policylang.VerbMaintain)
		return "CLUSTER", true
	case *ast.ReindexStmt:
		c.definition(policylang.ClassDDL)
		switch {
		case m.GetRelation() != nil:
			c.rangeVar(m.GetRelation(), policylang.VerbMaintain)
		case m.GetKind() == ast.ReindexObjectType_REINDEX_OBJECT_SCHEMA:
			c.relation(m.GetName(), "", policylang.VerbMaintain)
		default:
			c.relation("", "", policylang.VerbMaintain)
		}
		return "REINDEX", true
	case *ast.DoStmt:
		c.doStmt(m)
		return "DO", true
	case *ast.CallStmt:
		c.callStmt(m)
		return "CALL", true
	}
	return "", false
}

func (c *collector) vacuumStmt(m *ast.VacuumStmt) string {
	c.definition(policylang.ClassDDL)
	if len(m.GetRels()) == 0 {
		c.relation("", "", policylang.VerbMaintain)
	}
	for _, n := range m.GetRels() {
		v, ok := ast.Unwrap(n).(*ast.VacuumRelation)
		if !ok {
			c.mystery()
			continue
		}
		c.rangeVar(v.GetRelation(), policylang.VerbMaintain)
	}
	if m.GetIsVacuumcmd() {
		return "VACUUM"
	}
	return "ANALYZE"
}

func (c *collector) callStmt(m *ast.CallStmt) {
	f := m.GetFunccall()
	c.exprs(f.GetArgs())
	schema, name := qualifiedName(f.GetFuncname())
	c.functions = append(c.functions, qualified(schema, name))
	c.opaque()
}

// rangeVars adds a list of relations.
func (c *collector) rangeVars(list []*ast.Node, verb policylang.Verb) {
	for _, n := range list {
		r, ok := ast.Unwrap(n).(*ast.RangeVar)
		if !ok {
			c.mystery()
			continue
		}
		c.rangeVar(r, verb)
	}
}
