package statement

import (
	"slices"

	"github.com/posternhq/postern/policylang/internal/ast"
)

// depends reports whether a column of the target is in an expression. Inside
// of a subquery with a FROM a bare name is taken for a column of that FROM;
// shadows are the names that subqueries give their own items.
func (f rowFilter) depends(m any, shadows []string, inner bool) bool {
	if m == nil || !f.step() {
		return false
	}
	switch m := m.(type) {
	case *ast.ColumnRef:
		return f.isTarget(m, shadows, inner)
	case *ast.CurrentOfExpr:
		return true
	case *ast.SelectStmt:
		if from := m.GetFromClause(); len(from) > 0 {
			shadows = append(slices.Clip(shadows), fromNames(from)...)
			inner = true
		}
	}
	found := false
	ast.Children(m, func(child any) {
		found = found || f.depends(child, shadows, inner)
	})
	return found
}

func (f rowFilter) isTarget(ref *ast.ColumnRef, shadows []string, inner bool) bool {
	names, star := columnNames(ref)
	if star {
		names = append(names, "*")
	}
	switch len(names) {
	case 0:
		return false
	case 1:
		return !inner && names[0] != "tableoid"
	}
	relation := names[len(names)-2]
	return names[len(names)-1] != "tableoid" && relation == f.target.name && !slices.Contains(shadows, relation)
}

// fromNames returns the names that the items of a FROM are called by.
func fromNames(from []*ast.Node) []string {
	var out []string
	var visit func(m any)
	visit = func(m any) {
		switch m := m.(type) {
		case *ast.RangeVar:
			if m.GetAlias() == nil {
				out = append(out, m.GetRelname())
			}
		case *ast.SelectStmt:
			return
		case *ast.Alias:
			out = append(out, m.GetAliasname())
		}
		ast.Children(m, visit)
	}
	for _, n := range from {
		visit(ast.Unwrap(n))
	}
	return out
}
