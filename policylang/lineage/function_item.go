package lineage

import (
	"slices"

	"github.com/posternhq/postern/policylang/internal/ast"
	"github.com/posternhq/postern/policylang/pgcatalog"
)

// functionItem reads functions in FROM. They see the items to their left.
func (a *analyzer) functionItem(n *ast.RangeFunction, s *scope) *item {
	columns := a.lateral(true, s, func() []column { return a.functionColumns(n, s) })
	if n.Ordinality {
		columns = append(columns, column{name: "ordinality", typ: typeInt8})
	}
	i := &item{columns: columns, named: true, bare: true, lateralOK: true}
	if n.Alias != nil {
		i.columns = a.rename(columns, n.Alias, -1)
	}
	if len(columns) > 0 {
		i.alias = columns[0].name // a function without an alias goes by its own name
	}
	i.alias = a.functionAlias(n, i.alias)
	i.renamed = true
	return i
}

// functionAlias returns the name of a function item: its alias, or else the
// first function's name.
func (a *analyzer) functionAlias(n *ast.RangeFunction, otherwise string) string {
	if n.Alias != nil && n.Alias.Aliasname != "" {
		return n.Alias.Aliasname
	}
	if len(n.Functions) > 0 {
		if list, ok := ast.Unwrap(n.Functions[0]).(*ast.List); ok && len(list.Items) > 0 {
			return a.columnName(list.Items[0])
		}
	}
	return otherwise
}

func (a *analyzer) functionColumns(n *ast.RangeFunction, s *scope) []column {
	var out []column
	for _, f := range n.Functions {
		list, ok := ast.Unwrap(f).(*ast.List)
		if !ok || len(list.Items) == 0 {
			a.unsupported(n, "this function in FROM")
			return nil
		}
		definitions := n.Coldeflist
		if len(list.Items) > 1 && ast.Unwrap(list.Items[1]) != nil {
			if own, ok := ast.Unwrap(list.Items[1]).(*ast.List); ok {
				definitions = own.Items
			}
		}
		name := a.columnName(list.Items[0])
		if len(n.Functions) == 1 && n.Alias != nil && n.Alias.Aliasname != "" {
			name = n.Alias.Aliasname // the one column of a function that returns no row
		}
		out = append(out, a.calledColumns(list.Items[0], definitions, name, s)...)
	}
	return out
}

// calledColumns are the columns that one function in FROM returns.
func (a *analyzer) calledColumns(n *ast.Node, definitions []*ast.Node, name string, s *scope) []column {
	call, ok := ast.Unwrap(n).(*ast.FuncCall)
	if !ok { // current_date, coalesce and their kin: one row of one column
		v := a.expr(n, s)
		return []column{v.column(name)}
	}
	c := a.funcCall(call, s)
	if a.refusal != nil {
		return nil
	}
	if len(definitions) > 0 {
		return a.definedColumns(definitions, c.label, c.traits)
	}
	if columns := a.returned(c); columns != nil {
		return columns
	}
	if f := chosen(c.functions, c.args); f != nil && len(f.Outputs) == 1 && f.Outputs[0].Name != "" {
		name = f.Outputs[0].Name
	}
	return []column{{name: name, typ: c.typ, label: c.label, traits: c.traits}}
}

// definedColumns are the columns of a column definition list.
func (a *analyzer) definedColumns(list []*ast.Node, l label, t traits) []column {
	out := make([]column, 0, len(list))
	for _, n := range list {
		d, ok := ast.Unwrap(n).(*ast.ColumnDef)
		if !ok {
			a.unsupported(ast.Unwrap(n), "this column definition")
			return out
		}
		v := a.typed(d.TypeName)
		out = append(out, column{name: d.Colname, typ: v.typ, label: join(l.derive(), v.label), traits: t})
	}
	return out
}

// returned are the columns of a function that returns rows; nil if it returns
// a value. If functions of one name differ in that, the types of the arguments
// decide.
func (a *analyzer) returned(c called) []column {
	f := chosen(c.functions, c.args)
	if f == nil {
		return nil
	}
	var out []column
	switch {
	case len(f.Outputs) > 1 || (len(f.Outputs) == 1 && f.Result == typeRecord):
		for i, o := range f.Outputs {
			out = append(out, column{name: outputName(o, i), typ: o.Type, label: c.label.derive(), traits: c.traits})
		}
	default:
		out = a.fieldsOf(value{typ: a.returnedType(c, f), label: c.label, traits: c.traits})
		for i := range out {
			out[i].label = c.label.derive()
		}
	}
	if len(c.columns) == len(out) {
		for i := range out {
			out[i].label = c.columns[i].label
		}
	}
	return out
}

// outputName names an output parameter.
func outputName(o pgcatalog.Parameter, i int) string {
	if o.Name == "" {
		return valuesName(i)
	}
	return o.Name
}

// returnedType is the type of what f returns: the call's, if that is known.
func (a *analyzer) returnedType(c called, f *pgcatalog.Function) uint32 {
	if c.typ != 0 {
		return c.typ
	}
	return f.Result
}

// chosen picks the function that a call means, as far as the columns that it
// returns go.
func chosen(functions []*pgcatalog.Function, args []value) *pgcatalog.Function {
	if len(functions) == 0 {
		return nil
	}
	first := functions[0]
	if !slices.ContainsFunc(functions, func(f *pgcatalog.Function) bool { return len(f.Outputs) != len(first.Outputs) }) {
		return first
	}
	for _, f := range functions {
		if len(args) == 1 && len(f.Arguments) == 1 && f.Arguments[0] == args[0].typ {
			return f
		}
	}
	for _, f := range functions {
		if len(f.Outputs) == 0 {
			return f
		}
	}
	return first
}
