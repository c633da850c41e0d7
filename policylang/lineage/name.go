package lineage

import (
	"github.com/posternhq/postern/policylang/internal/ast"
)

// columnName names an output as PostgreSQL does, see FigureColname in its
// parse_target.c.
func (a *analyzer) columnName(n *ast.Node) string {
	if name, _ := figureName(n); name != "" {
		return name
	}
	return "?column?"
}

// figureName returns a name and how good it is: 2 for a name that the query
// gives, 1 for one made up, 0 for none.
func figureName(n *ast.Node) (string, int) {
	switch n := ast.Unwrap(n).(type) {
	case *ast.ColumnRef:
		if name := lastString(n.Fields); name != "" {
			return name, 2
		}
	case *ast.A_Indirection:
		if name := lastString(n.Indirection); name != "" {
			return name, 2
		}
		return figureName(n.Arg)
	case *ast.FuncCall:
		return lastString(n.Funcname), 2
	case *ast.A_Expr:
		if n.Kind == exprNullif {
			return "nullif", 2
		}
	case *ast.TypeCast:
		name, strength := figureName(n.Arg)
		if strength <= 1 && n.TypeName != nil {
			return lastString(n.TypeName.Names), 1
		}
		return name, strength
	case *ast.CollateClause:
		return figureName(n.Arg)
	case *ast.GroupingFunc:
		return "grouping", 2
	case *ast.SubLink:
		return subLinkName(n)
	case *ast.CaseExpr:
		name, strength := figureName(n.Defresult)
		if strength <= 1 {
			return "case", 1
		}
		return name, strength
	case *ast.A_ArrayExpr:
		return "array", 2
	case *ast.RowExpr:
		return "row", 2
	case *ast.CoalesceExpr:
		return "coalesce", 2
	case *ast.MinMaxExpr:
		if n.Op == minMaxGreatest {
			return "greatest", 2
		}
		return "least", 2
	case *ast.SQLValueFunction:
		return sqlValueName(int32(n.Op)), 2
	case *ast.XmlExpr:
		return xmlName(int32(n.Op)), 2
	case *ast.XmlSerialize:
		return "xmlserialize", 2
	case *ast.JsonObjectConstructor:
		return "json_object", 2
	case *ast.JsonArrayConstructor, *ast.JsonArrayQueryConstructor:
		return "json_array", 2
	case *ast.JsonObjectAgg:
		return "json_objectagg", 2
	case *ast.JsonArrayAgg:
		return "json_arrayagg", 2
	}
	return "", 0
}

func subLinkName(n *ast.SubLink) (string, int) {
	switch n.SubLinkType {
	case subLinkExists:
		return "exists", 2
	case subLinkArray:
		return "array", 2
	case subLinkExpr:
		s, ok := ast.Unwrap(n.Subselect).(*ast.SelectStmt)
		for ok && s.Larg != nil {
			s = s.Larg
		}
		if !ok || len(s.TargetList) == 0 {
			if ok && len(s.ValuesLists) > 0 {
				return valuesName(0), 2
			}
			return "", 0
		}
		t, ok := ast.Unwrap(s.TargetList[0]).(*ast.ResTarget)
		switch {
		case !ok:
			return "", 0
		case t.Name != "":
			return t.Name, 2
		}
		if name, _ := figureName(t.Val); name != "" {
			return name, 2
		}
		return "?column?", 2
	}
	return "", 0
}

// lastString returns the last of a list of nodes that is a name.
func lastString(list []*ast.Node) string {
	name := ""
	for _, n := range list {
		if s, ok := ast.Unwrap(n).(*ast.String); ok {
			name = s.Sval
		}
	}
	return name
}

func sqlValueName(op int32) string {
	names := []string{
		"", "current_date", "current_time", "current_time", "current_timestamp", "current_timestamp",
		"localtime", "localtime", "localtimestamp", "localtimestamp",
		"current_role", "current_user", "user", "session_user", "current_catalog", "current_schema",
	}
	if op < 0 || int(op) >= len(names) {
		return ""
	}
	return names[op]
}

func xmlName(op int32) string {
	names := []string{"", "xmlconcat", "xmlelement", "xmlforest", "xmlparse", "xmlpi", "xmlroot", "xmlserialize", ""}
	if op < 0 || int(op) >= len(names) {
		return ""
	}
	return names[op]
}
