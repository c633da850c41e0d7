package lineage

import (
	"github.com/posternhq/postern/policylang/statement"
)

// columnName names an output as PostgreSQL does, see FigureColname in its
// parse_target.c.
func (a *analyzer) columnName(n *statement.Node) string {
	if name, _ := figureName(n); name != "" {
		return name
	}
	return "?column?"
}

// figureName returns a name and how good it is: 2 for a name that the query
// gives, 1 for one made up, 0 for none.
func figureName(n *statement.Node) (string, int) {
	switch n := statement.Unwrap(n).(type) {
	case *statement.ColumnRef:
		if name := lastString(n.Fields); name != "" {
			return name, 2
		}
	case *statement.A_Indirection:
		if name := lastString(n.Indirection); name != "" {
			return name, 2
		}
		return figureName(n.Arg)
	case *statement.FuncCall:
		return lastString(n.Funcname), 2
	case *statement.A_Expr:
		if n.Kind == exprNullif {
			return "nullif", 2
		}
	case *statement.TypeCast:
		name, strength := figureName(n.Arg)
		if strength <= 1 && n.TypeName != nil {
			return lastString(n.TypeName.Names), 1
		}
		return name, strength
	case *statement.CollateClause:
		return figureName(n.Arg)
	case *statement.GroupingFunc:
		return "grouping", 2
	case *statement.SubLink:
		return subLinkName(n)
	case *statement.CaseExpr:
		name, strength := figureName(n.Defresult)
		if strength <= 1 {
			return "case", 1
		}
		return name, strength
	case *statement.A_ArrayExpr:
		return "array", 2
	case *statement.RowExpr:
		return "row", 2
	case *statement.CoalesceExpr:
		return "coalesce", 2
	case *statement.MinMaxExpr:
		if n.Op == minMaxGreatest {
			return "greatest", 2
		}
		return "least", 2
	case *statement.SQLValueFunction:
		return sqlValueName(int32(n.Op)), 2
	case *statement.XmlExpr:
		return xmlName(int32(n.Op)), 2
	case *statement.XmlSerialize:
		return "xmlserialize", 2
	case *statement.JsonObjectConstructor:
		return "json_object", 2
	case *statement.JsonArrayConstructor, *statement.JsonArrayQueryConstructor:
		return "json_array", 2
	case *statement.JsonObjectAgg:
		return "json_objectagg", 2
	case *statement.JsonArrayAgg:
		return "json_arrayagg", 2
	}
	return "", 0
}

func subLinkName(n *statement.SubLink) (string, int) {
	switch n.SubLinkType {
	case subLinkExists:
		return "exists", 2
	case subLinkArray:
		return "array", 2
	case subLinkExpr:
		s, ok := statement.Unwrap(n.Subselect).(*statement.SelectStmt)
		for ok && s.Larg != nil {
			s = s.Larg
		}
		if !ok || len(s.TargetList) == 0 {
			if ok && len(s.ValuesLists) > 0 {
				return valuesName(0), 2
			}
			return "", 0
		}
		t, ok := statement.Unwrap(s.TargetList[0]).(*statement.ResTarget)
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
func lastString(list []*statement.Node) string {
	name := ""
	for _, n := range list {
		if s, ok := statement.Unwrap(n).(*statement.String); ok {
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
