package statement

import (
	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/policylang/internal/ast"
)

// write says that rows change, if the statement runs.
func (c *collector) write(r *ast.RangeVar, verb policylang.Verb) {
	c.rangeVar(r, verb)
	if c.planned {
		c.raise(policylang.ClassRead)
		return
	}
	c.change(policylang.ClassWrite)
	c.writes = true
}

func (c *collector) insertStmt(s *ast.InsertStmt) {
	c.write(s.GetRelation(), policylang.VerbInsert)
	c.push(false)
	defer c.pop()
	c.with(s.GetWithClause())
	if q := s.GetSelectStmt(); q != nil {
		c.subquery(q)
	}
	target := c.targetItem(s.GetRelation())
	c.assigned(target, s.GetCols(), len(s.GetCols()) == 0)
	if on := s.GetOnConflictClause(); on != nil {
		c.onConflict(s.GetRelation(), target, on)
	}
	c.targets(s.GetReturningList())
}

// onConflict reads ON CONFLICT, in which "excluded" is the row that was to be
// inserted.
func (c *collector) onConflict(r *ast.RangeVar, target item, on *ast.OnConflictClause) {
	excluded := target
	excluded.name = "excluded"
	excluded.target = false
	c.scope.add(excluded)
	if on.GetAction() == ast.OnConflictAction_ONCONFLICT_UPDATE {
		c.write(r, policylang.VerbUpdate)
	}
	if infer := on.GetInfer(); infer != nil {
		c.exprs(infer.GetIndexElems())
		c.expr(infer.GetWhereClause())
	}
	c.assigned(target, on.GetTargetList(), false)
	c.expr(on.GetWhereClause())
}

func (c *collector) updateStmt(s *ast.UpdateStmt) {
	c.write(s.GetRelation(), policylang.VerbUpdate)
	c.push(false)
	defer c.pop()
	c.with(s.GetWithClause())
	target := c.targetItem(s.GetRelation())
	c.from(s.GetFromClause())
	c.assigned(target, s.GetTargetList(), false)
	c.filter(s.GetWhereClause())
	c.targets(s.GetReturningList())
}

func (c *collector) deleteStmt(s *ast.DeleteStmt) {
	c.write(s.GetRelation(), policylang.VerbDelete)
	c.push(false)
	defer c.pop()
	c.with(s.GetWithClause())
	c.targetItem(s.GetRelation())
	c.from(s.GetUsingClause())
	c.filter(s.GetWhereClause())
	c.targets(s.GetReturningList())
}

func (c *collector) mergeStmt(s *ast.MergeStmt) {
	c.raise(policylang.ClassRead)
	if !c.planned {
		c.change(policylang.ClassWrite) // even if all it says is DO NOTHING: it locks as a write does
	}
	c.rangeVar(s.GetRelation(), policylang.VerbRead)
	c.push(false)
	defer c.pop()
	c.with(s.GetWithClause())
	target := c.targetItem(s.GetRelation())
	c.fromItem(s.GetSourceRelation())
	c.expr(s.GetJoinCondition())
	for _, n := range s.GetMergeWhenClauses() {
		w, ok := ast.Unwrap(n).(*ast.MergeWhenClause)
		if !ok {
			c.mystery()
			continue
		}
		c.mergeWhen(s, w, target)
	}
}

func (c *collector) mergeWhen(s *ast.MergeStmt, w *ast.MergeWhenClause, target item) {
	c.expr(w.GetCondition())
	switch w.GetCommandType() {
	case ast.CmdType_CMD_NOTHING:
	case ast.CmdType_CMD_INSERT:
		c.write(s.GetRelation(), policylang.VerbInsert)
		c.assigned(target, w.GetTargetList(), len(w.GetTargetList()) == 0)
		c.exprs(w.GetValues())
	case ast.CmdType_CMD_UPDATE:
		c.write(s.GetRelation(), policylang.VerbUpdate)
		c.filterAll(s.GetJoinCondition(), w.GetCondition())
		c.assigned(target, w.GetTargetList(), false)
	case ast.CmdType_CMD_DELETE:
		c.write(s.GetRelation(), policylang.VerbDelete)
		c.filterAll(s.GetJoinCondition(), w.GetCondition())
	case ast.CmdType_CMD_TYPE_UNDEFINED, ast.CmdType_CMD_UNKNOWN, ast.CmdType_CMD_SELECT, ast.CmdType_CMD_MERGE, ast.CmdType_CMD_UTILITY:
		c.mystery()
	}
}

// assigned reads the columns that are written, and what is written to them;
// all is a list that is left out.
func (c *collector) assigned(target item, list []*ast.Node, all bool) {
	if all {
		c.column(target.schema, target.table, "")
	}
	for _, n := range list {
		r, ok := ast.Unwrap(n).(*ast.ResTarget)
		if !ok {
			c.mystery()
			continue
		}
		c.column(target.schema, target.table, r.GetName())
		c.exprs(r.GetIndirection())
		c.expr(r.GetVal())
	}
}

// targets reads a select list or RETURNING.
func (c *collector) targets(list []*ast.Node) {
	for _, n := range list {
		r, ok := ast.Unwrap(n).(*ast.ResTarget)
		if !ok {
			c.mystery()
			continue
		}
		c.exprs(r.GetIndirection())
		c.expr(r.GetVal())
	}
}
