package statement

import (
	"strings"

	"github.com/posternhq/postern/policylang/internal/ast"
)

const (
	maxBodyDepth      = 500    // of IF, LOOP and blocks
	maxBodyStatements = 10_000 // in one body
	maxBodyDynamic    = 100    // EXECUTEs in one body
)

// plpgsql reads the body of a routine written in PL/pgSQL.
func (c *collector) plpgsql(text string) {
	if c.bodies >= maxBodies || check(text, c.bodyLimits()) != nil {
		c.opaque()
		return
	}
	r := newBodyReader(text)
	r.body()
	for _, s := range r.dynamic[:min(len(r.dynamic), maxBodyDynamic)] {
		c.dynamicSQL(s)
	}
	if r.failed || len(r.dynamic) > maxBodyDynamic {
		c.opaque()
	}
	c.pieces(r.pieces)
}

func (c *collector) bodyLimits() Limits {
	l := c.limits
	l.MaxStatements = maxBodyStatements
	l.MaxBytes *= 2 // "SELECT " before each expression
	return l
}

// dynamicSQL reads the argument of EXECUTE: a constant is as good as a
// statement, all else cannot be read.
func (c *collector) dynamicSQL(expression string) {
	nodes, ok := c.parseNested("SELECT " + expression)
	if ok && len(nodes) == 1 {
		if s, ok := ast.Unwrap(nodes[0]).(*ast.SelectStmt); ok && len(s.GetTargetList()) == 1 {
			if t, ok := ast.Unwrap(s.GetTargetList()[0]).(*ast.ResTarget); ok {
				if text, ok := c.stringConstant(t.GetVal()); ok {
					c.sqlText(text)
					return
				}
			}
		}
	}
	c.opaque()
}

// pieces reads the SQL of a body, all at once since each call of the parser has
// its price.
func (c *collector) pieces(pieces []piece) {
	if len(pieces) == 0 {
		return
	}
	var b strings.Builder
	for _, p := range pieces {
		b.WriteString(p.sql)
		b.WriteString("\n;\n")
	}
	if check(b.String(), c.bodyLimits()) != nil {
		c.opaque()
		return
	}
	nodes, err := parseNodes(b.String())
	if err != nil || len(nodes) != len(pieces) {
		c.opaque()
		return
	}
	c.bodies++
	for i, n := range nodes {
		m := ast.Unwrap(n)
		if s, ok := m.(*ast.SelectStmt); ok && pieces[i].expression {
			c.selectStmt(s)
		} else {
			c.statement(m)
		}
	}
	c.bodies--
}

// piece is SQL found in a body: a statement, or an expression behind SELECT.
type piece struct {
	sql        string
	expression bool
}
