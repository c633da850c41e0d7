package lineage

import (
	"slices"

	"github.com/posternhq/postern/policylang/internal/ast"
)

// cte is a query of a WITH list.
type cte struct {
	node    *ast.CommonTableExpr
	scope   *scope // what names in its query mean
	columns []column
	state   cteState
	approx  []column // what a reference to itself sees; nil while its first arm is followed
	self    bool     // it referred to itself
}

type cteState int

const (
	cteNew cteState = iota
	cteRunning
	cteDone
)

// with returns the scope in which a statement with this WITH list is read:
// outer itself if there is none. A query of a plain list sees its elder
// siblings; of a recursive one all of them, itself included.
func (a *analyzer) with(n *ast.WithClause, outer *scope) *scope {
	if n == nil {
		return outer
	}
	all := make([]*cte, 0, len(n.Ctes))
	for _, node := range n.Ctes {
		e, ok := ast.Unwrap(node).(*ast.CommonTableExpr)
		if !ok {
			a.unsupported(ast.Unwrap(node), "this WITH query")
			return outer
		}
		c := &cte{node: e, scope: &scope{parent: outer, ctes: slices.Clone(all)}}
		all = append(all, c)
	}
	if n.Recursive {
		for _, c := range all {
			c.scope.ctes = all
		}
	}
	for _, c := range all {
		a.cteColumns(c)
	}
	return &scope{parent: outer, ctes: all}
}

// findCTE returns the WITH query that an unqualified name means; nil if none.
func findCTE(s *scope, name string) *cte {
	for ; s != nil; s = s.parent {
		for _, c := range s.ctes {
			if c.node.Ctename == name {
				return c
			}
		}
	}
	return nil
}

// cteColumns returns the columns of a WITH query, following it the first time.
func (a *analyzer) cteColumns(c *cte) []column {
	switch c.state {
	case cteDone:
		return c.columns
	case cteRunning:
		c.self = true
		if c.approx == nil {
			a.refuse(CodeUnsupported, c.node.Location, "", "the recursion of %q cannot be followed", c.node.Ctename)
		}
		return c.approx
	case cteNew:
	}
	c.state = cteRunning
	columns := a.cteNames(c, slices.Clone(a.query(c.node.Ctequery, c.scope, c)))
	c.columns = settle(a.searchAndCycle(c, columns))
	c.state = cteDone
	return c.columns
}

func (a *analyzer) cteNames(c *cte, columns []column) []column {
	return a.rename(columns, &ast.Alias{Aliasname: c.node.Ctename, Colnames: c.node.Aliascolnames}, c.node.Location)
}

// recursion follows the second arm of a recursive WITH query until its labels
// no longer change. Labels only grow, so that it ends.
func (a *analyzer) recursion(n *ast.SelectStmt, s *scope, c *cte, first []column) []column {
	now := first
	for a.refusal == nil {
		c.approx = settle(a.searchAndCycle(c, a.cteNames(c, slices.Clone(now))))
		c.self = false
		next := a.arms(now, a.selectStmt(n.Rarg, s, nil))
		for i := range next {
			next[i].size = unbounded // it may double with each turn
		}
		if !c.self || a.refusal != nil || sameLabels(now, next) {
			return next
		}
		now = next
	}
	return now
}

func sameLabels(a, b []column) bool {
	return slices.EqualFunc(a, b, func(x, y column) bool {
		return x.label.equal(y.label) && sameLabels(x.fields, y.fields)
	})
}

// searchAndCycle appends the columns that SEARCH and CYCLE make.
func (a *analyzer) searchAndCycle(c *cte, columns []column) []column {
	if n := c.node.SearchClause; n != nil {
		l := a.listed(c, columns, n.SearchColList)
		columns = append(columns, column{name: n.SearchSeqColumn, label: l.derive(), traits: unclear})
	}
	if n := c.node.CycleClause; n != nil {
		l := a.listed(c, columns, n.CycleColList)
		a.control(l, usePredicate, "CYCLE", n.Location)
		mark := a.expr(n.CycleMarkValue, c.scope).with(a.expr(n.CycleMarkDefault, c.scope))
		columns = append(columns,
			column{name: n.CycleMarkColumn, label: join(l, mark.label).derive(), traits: unclear},
			column{name: n.CyclePathColumn, label: l.derive(), traits: unclear})
	}
	return columns
}

// unclear are the traits of what may be anything.
var unclear = traits{collation: mixedCollation, size: unbounded, shaped: true}

// listed joins the labels of the columns that SEARCH or CYCLE lists.
func (a *analyzer) listed(c *cte, columns []column, names []*ast.Node) label {
	var l label
	for _, name := range stringList(names) {
		i := slices.IndexFunc(columns, func(k column) bool { return k.name == name })
		if i < 0 {
			a.refuse(CodeUnknown, c.node.Location, "", "column %q is not in the WITH query", name)
			return l
		}
		l = join(l, columns[i].label)
	}
	return l
}
