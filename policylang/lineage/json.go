package lineage

import (
	"github.com/posternhq/postern/policylang/internal/ast"
)

// json follows the SQL/JSON constructors. A server older than the parser here
// takes some of them for calls of a user's functions.
func (a *analyzer) json(n any, s *scope) value {
	if a.cat.ServerVersion < 160000 {
		a.refuse(CodeUnsupported, locateInner(n), "Use json_build_object, json_build_array, json_agg or json_object_agg.",
			"SQL/JSON constructors mean something else to this server")
		return value{}
	}
	v := a.jsonParts(n, s)
	return a.fallible(v, "an SQL/JSON constructor", locateInner(n))
}

func (a *analyzer) jsonParts(n any, s *scope) value {
	switch n := n.(type) {
	case *ast.JsonObjectConstructor:
		return a.all(n.Exprs, s).with(a.jsonOutput(n.Output))
	case *ast.JsonArrayConstructor:
		return a.all(n.Exprs, s).with(a.jsonOutput(n.Output))
	case *ast.JsonArrayQueryConstructor:
		columns := a.query(n.Query, &scope{parent: s}, nil)
		return value{label: labels(columns).derive(), risky: true}.with(a.jsonOutput(n.Output))
	case *ast.JsonObjectAgg:
		return a.jsonKeyValue(n.Arg, s).with(a.jsonAggregate(n.Constructor, s))
	case *ast.JsonArrayAgg:
		return a.jsonValue(n.Arg, s).with(a.jsonAggregate(n.Constructor, s))
	case *ast.JsonIsPredicate:
		v := a.expr(n.Expr, s).computed(typeBool)
		return v
	case *ast.JsonKeyValue:
		return a.jsonKeyValue(n, s)
	case *ast.JsonValueExpr:
		return a.jsonValue(n, s)
	}
	a.unsupported(n, "this JSON constructor")
	return value{}
}

func (a *analyzer) jsonKeyValue(n *ast.JsonKeyValue, s *scope) value {
	if n == nil {
		return value{}
	}
	return a.expr(n.Key, s).with(a.jsonValue(n.Value, s))
}

func (a *analyzer) jsonValue(n *ast.JsonValueExpr, s *scope) value {
	if n == nil {
		return value{}
	}
	return a.expr(n.RawExpr, s).with(a.expr(n.FormattedExpr, s))
}

func (a *analyzer) jsonOutput(n *ast.JsonOutput) value {
	if n == nil {
		return value{}
	}
	v := a.typed(n.TypeName)
	return v
}

func (a *analyzer) jsonAggregate(n *ast.JsonAggConstructor, s *scope) value {
	if n == nil {
		return value{}
	}
	a.predicate(n.AggFilter, s, "FILTER")
	a.sort(n.AggOrder, s, nil, "ORDER BY of an aggregate")
	a.window(n.Over, s)
	return a.jsonOutput(n.Output)
}
