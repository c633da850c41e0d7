package statement

import (
	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/policylang/internal/ast"
)

// routine reads definitions of functions, procedures and languages.
func (c *collector) routine(m any) (tag string, ok bool) {
	switch m := m.(type) {
	case *ast.CreateFunctionStmt:
		c.createFunctionStmt(m)
		if m.GetIsProcedure() {
			return "CREATE PROCEDURE", true
		}
		return "CREATE FUNCTION", true
	case *ast.AlterFunctionStmt:
		c.definition(policylang.ClassDDL)
		c.names(m.GetFunc().GetObjname())
		return alterTag(m.GetObjtype()), true
	case *ast.CreatePLangStmt:
		c.definition(policylang.ClassDDL)
		c.names(m.GetPlhandler())
		c.names(m.GetPlinline())
		c.names(m.GetPlvalidator())
		return "CREATE LANGUAGE", true
	}
	return "", false
}

func (c *collector) createFunctionStmt(m *ast.CreateFunctionStmt) {
	c.definition(policylang.ClassDDL)
	c.names(m.GetFuncname())
	c.defineAll(m.GetParameters())
	if body := m.GetSqlBody(); body != nil {
		c.inBody(func() { c.sqlBody(ast.Unwrap(body)) })
		return
	}
	c.routineBody(m.GetOptions(), "sql")
}

// sqlBody reads BEGIN ATOMIC … END or RETURN: a statement, or lists of them.
func (c *collector) sqlBody(m any) {
	if list, ok := m.(*ast.List); ok {
		for _, n := range list.GetItems() {
			c.sqlBody(ast.Unwrap(n))
		}
		return
	}
	c.statement(m)
}

func (c *collector) doStmt(m *ast.DoStmt) {
	c.change(policylang.ClassFunction)
	c.routineBody(m.GetArgs(), "plpgsql")
}

// routineBody reads the body that is written as a constant. What is not written
// in SQL or PL/pgSQL cannot be read, and may do what the server's own user
// may.
func (c *collector) routineBody(options []*ast.Node, language string) {
	var texts []string
	bodies, languages := 0, 0
	for _, n := range options {
		d, ok := ast.Unwrap(n).(*ast.DefElem)
		if !ok {
			c.mystery()
			return
		}
		switch d.GetDefname() {
		case "as":
			bodies++
			texts = append(texts, objectParts(d.GetArg())...)
		case "language":
			languages++
			if s, ok := ast.Unwrap(d.GetArg()).(*ast.String); ok {
				language = s.GetSval()
			}
		}
	}
	c.literal = true
	if bodies != 1 || len(texts) != 1 || languages > 1 {
		c.opaque() // an object file and its symbol, or nothing that PostgreSQL would run
		c.change(policylang.ClassRole)
		return
	}
	switch language {
	case "sql":
		c.inBody(func() { c.sqlText(texts[0]) })
	case "plpgsql":
		c.inBody(func() { c.plpgsql(texts[0]) })
	default:
		c.opaque()
		c.change(policylang.ClassRole)
	}
}

// inBody reads the body of a routine, in which names may be variables and
// parameters are the routine's own.
func (c *collector) inBody(read func()) {
	scope, parameters, body := c.scope, c.parameters, c.body
	c.scope, c.body = nil, true
	read()
	c.scope, c.parameters, c.body = scope, parameters, body
}

// sqlText reads SQL that a constant holds.
func (c *collector) sqlText(text string) {
	c.literal = true
	nodes, ok := c.parseNested(text)
	if !ok {
		c.opaque()
		return
	}
	scope, parameters := c.scope, c.parameters
	c.scope = nil
	c.bodies++
	for _, n := range nodes {
		c.statement(ast.Unwrap(n))
	}
	c.bodies--
	c.scope, c.parameters = scope, parameters
}

// parseNested parses SQL inside of SQL.
func (c *collector) parseNested(text string) (nodes []*ast.Node, ok bool) {
	if c.bodies >= maxBodies || check(text, c.limits) != nil {
		return nil, false
	}
	nodes, err := parseNodes(text)
	return nodes, err == nil
}
