package lineage

import (
	"slices"
	"strings"

	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/policylang/internal/ast"
)

// result is what a statement as a whole returns.
type result struct {
	rows    bool
	byName  bool
	columns []column
	copied  *CopyFormat // of COPY … TO
}

// statement follows a whole statement. What is not known here is refused.
func (a *analyzer) statement(n *ast.Node) result {
	switch n := ast.Unwrap(n).(type) {
	case *ast.SelectStmt:
		columns := a.selectStmt(n, nil, nil)
		if intoClause(n) != nil {
			return result{}
		}
		return result{rows: true, columns: columns}
	case *ast.InsertStmt:
		return returned(n.ReturningList, a.insert(n, nil))
	case *ast.UpdateStmt:
		return returned(n.ReturningList, a.update(n, nil))
	case *ast.DeleteStmt:
		return returned(n.ReturningList, a.delete(n, nil))
	case *ast.MergeStmt:
		a.merge(n, nil)
		return result{}
	case *ast.ExplainStmt:
		return a.explain(n)
	case *ast.CopyStmt:
		return a.copy(n)
	case *ast.DeclareCursorStmt:
		return result{columns: a.query(n.Query, nil, nil)}
	case *ast.PrepareStmt:
		for _, t := range n.Argtypes {
			if name, ok := ast.Unwrap(t).(*ast.TypeName); ok {
				a.typed(name)
			}
		}
		return result{columns: a.statement(n.Query).columns}
	case *ast.ExecuteStmt:
		a.bottom(a.all(n.Params, nil), "EXECUTE")
		return result{rows: true, byName: true}
	case *ast.FetchStmt:
		return result{rows: !n.Ismove, byName: true}
	case *ast.VariableShowStmt:
		return result{rows: true, columns: showColumns(n.Name)}
	case *ast.TransactionStmt:
		a.tainted = n.Kind == transactionCommit || n.Kind == transactionPrepare // deferred constraints fail with values
		return result{}
	case *ast.ConstraintsSetStmt:
		a.tainted = true
		return result{}
	case *ast.VariableSetStmt, *ast.DiscardStmt, *ast.DeallocateStmt, *ast.ClosePortalStmt,
		*ast.ListenStmt, *ast.UnlistenStmt, *ast.NotifyStmt, *ast.CheckPointStmt, *ast.LockStmt:
		return result{} // nothing in them comes from a table
	case nil:
		a.unsupported(nil, "a statement that cannot be read")
		return result{}
	default:
		a.definitionStatement(n)
		return result{}
	}
}

func returned(list []*ast.Node, columns []column) result {
	return result{rows: len(list) > 0, columns: columns}
}

// intoClause returns the INTO of a SELECT, which stands in its leftmost arm.
func intoClause(n *ast.SelectStmt) *ast.IntoClause {
	for n != nil {
		if n.IntoClause != nil {
			return n.IntoClause
		}
		n = n.Larg
	}
	return nil
}

// bottom refuses a protected value where none may go.
func (a *analyzer) bottom(v value, clause string) {
	a.control(v.label, usePredicate, clause, -1)
}

func showColumns(name string) []column {
	if name == "all" {
		return []column{{name: "name", typ: typeText}, {name: "setting", typ: typeText}, {name: "description", typ: typeText}}
	}
	return []column{{name: name, typ: typeText}}
}

// explain follows EXPLAIN, whose plan must not tell about protected values: the
// planner's estimates come from statistics and sizes of the tables that hold
// them, and what sorting and hashing used from the values.
func (a *analyzer) explain(n *ast.ExplainStmt) result {
	costs, analyze, format := true, false, "text"
	for _, o := range n.Options {
		option, ok := ast.Unwrap(o).(*ast.DefElem)
		if !ok {
			a.unsupported(n, "this EXPLAIN")
			return result{}
		}
		switch option.Defname {
		case "costs":
			costs = isOn(option)
		case "analyze":
			analyze = isOn(option)
		case "format":
			format = strings.ToLower(optionText(option))
		}
	}
	a.statement(n.Query)
	if _, ok := ast.Unwrap(n.Query).(*ast.ExecuteStmt); ok { // what it runs may read anything
		a.secret, a.labelled = true, true
	}
	if (a.secret && costs) || (a.labelled && analyze) {
		a.refuse(CodeExplain, -1, "Use EXPLAIN (COSTS OFF), without ANALYZE.",
			"the plan's estimates and statistics would tell about values that are masked for you")
	}
	plan := column{name: "QUERY PLAN", typ: typeText}
	switch format {
	case "json":
		plan.typ = typeJSON
	case "xml":
		plan.typ = typeXML
	}
	return result{rows: true, columns: []column{plan}}
}

// isOn reads a boolean option, which is on if it has no value. What cannot be
// read is taken for on.
func isOn(o *ast.DefElem) bool {
	switch v := ast.Unwrap(o.Arg).(type) {
	case *ast.Integer:
		return v.Ival != 0
	case *ast.Boolean:
		return v.Boolval
	case *ast.String:
		s := strings.ToLower(v.Sval)
		return s != "off" && s != "false"
	}
	return true
}

func optionText(o *ast.DefElem) string {
	if s, ok := ast.Unwrap(o.Arg).(*ast.String); ok {
		return s.Sval
	}
	return ""
}

// copy follows COPY. The server's own files and programs are not for it.
func (a *analyzer) copy(n *ast.CopyStmt) result {
	if n.IsProgram || n.Filename != "" {
		a.refuse(CodeServer, -1, "Use COPY with STDIN or STDOUT.", "COPY may not use files or programs of the server while values are masked for you")
		return result{}
	}
	switch {
	case n.Query != nil:
		return result{rows: true, columns: a.query(n.Query, nil, nil), copied: a.copyFormat(n)}
	case n.IsFrom:
		a.copyFrom(n)
		return result{}
	}
	r := a.findRelation(n.Relation)
	if r == nil {
		return result{}
	}
	return result{rows: true, columns: a.copied(n, a.see(r, n.Relation.Location)), copied: a.copyFormat(n)}
}

// copied are the columns that COPY … TO writes: those listed, or all that are
// not generated.
func (a *analyzer) copied(n *ast.CopyStmt, seen *relation) []column {
	i := tableItem(seen.rel, seen.columns, seen.rel.Name)
	names := stringList(n.Attlist)
	if len(names) == 0 {
		for c := range seen.rel.Columns {
			if !seen.rel.Columns[c].Generated {
				names = append(names, seen.rel.Columns[c].Name)
			}
		}
	}
	out := make([]column, 0, len(names))
	for _, name := range names {
		v, ok := a.field(i, name, n.Relation.Location)
		if !ok {
			a.undefined(undefinedColumn, n.Relation.Location, "", "column %q of relation %q does not exist", name, seen.rel.Name)
		}
		out = append(out, column{name: name, typ: v.typ, label: v.label})
	}
	return out
}

// copyFrom follows COPY … FROM STDIN: an INSERT of what the client sends.
func (a *analyzer) copyFrom(n *ast.CopyStmt) {
	d := a.target(n.Relation, policylang.VerbInsert)
	if d == nil {
		return
	}
	names := stringList(n.Attlist)
	for i := range d.seen.columns {
		c := &d.seen.columns[i]
		if len(names) == 0 || slices.Contains(names, c.name) {
			a.checkType(c, n.Relation.Location)
		} else {
			a.defaultOf(d.seen.rel, c.id.Column, n.Relation.Location)
		}
	}
	a.predicate(n.WhereClause, &scope{items: []*item{d.item}}, "WHERE of COPY")
}
