package lineage

import (
	"github.com/posternhq/postern/policylang/internal/ast"
	"github.com/posternhq/postern/policylang/pgcatalog"
)

// xmlExpr follows XMLELEMENT, XMLFOREST and their kin.
func (a *analyzer) xmlExpr(n *ast.XmlExpr, s *scope) value {
	v := a.all(n.Args, s)
	for _, arg := range n.NamedArgs {
		if t, ok := ast.Unwrap(arg).(*ast.ResTarget); ok {
			v = v.with(a.expr(t.Val, s))
		} else {
			v = v.with(a.expr(arg, s))
		}
	}
	v.typ = typeXML
	return a.fallible(v, xmlClause(n), n.Location)
}

func xmlClause(n *ast.XmlExpr) string {
	if name := xmlName(int32(n.Op)); name != "" {
		return name
	}
	return "IS DOCUMENT"
}

// xmlTable reads XMLTABLE: how many rows there are depends on the document.
func (a *analyzer) xmlTable(n *ast.RangeTableFunc, s *scope) *item {
	columns := a.lateral(true, s, func() []column { return a.xmlColumns(n, s) })
	i := &item{alias: "xmltable", renamed: true, columns: columns, named: true, bare: true, lateralOK: true}
	if n.Alias != nil {
		i.columns = a.rename(columns, n.Alias, -1)
		i.alias = n.Alias.Aliasname
	}
	return i
}

func (a *analyzer) xmlColumns(n *ast.RangeTableFunc, s *scope) []column {
	v := a.expr(n.Docexpr, s).with(a.expr(n.Rowexpr, s))
	for _, ns := range n.Namespaces {
		if t, ok := ast.Unwrap(ns).(*ast.ResTarget); ok {
			v = v.with(a.expr(t.Val, s))
		} else {
			v = v.with(a.expr(ns, s))
		}
	}
	a.control(v.label, usePredicate, "XMLTABLE", n.Location)
	out := make([]column, 0, len(n.Columns))
	for _, c := range n.Columns {
		def, ok := ast.Unwrap(c).(*ast.RangeTableFuncCol)
		if !ok {
			a.unsupported(ast.Unwrap(c), "this XMLTABLE")
			return out
		}
		if def.ForOrdinality {
			out = append(out, column{name: def.Colname, typ: typeInt4})
			continue
		}
		w := v.with(a.expr(def.Colexpr, s)).with(a.expr(def.Coldefexpr, s))
		a.control(w.label, useFallible, "XMLTABLE", n.Location)
		typ := a.typed(def.TypeName)
		out = append(out, column{name: def.Colname, typ: typ.typ, label: join(w.label, typ.label), traits: traits{collation: pgcatalog.CollationDefault, size: unbounded, shaped: true}})
	}
	return out
}
