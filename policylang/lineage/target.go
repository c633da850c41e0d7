package lineage

import (
	"slices"
	"strconv"

	"github.com/posternhq/postern/policylang/internal/ast"
)

// target is an entry of a select list or RETURNING.
type target struct {
	column
	node *ast.Node // its expression; nil if a star made it
}

func columnsOf(targets []target) []column {
	out := make([]column, len(targets))
	for i := range targets {
		out[i] = targets[i].column
	}
	return out
}

// namedTargets are targets of which only the name is known.
func namedTargets(columns []column) []target {
	out := make([]target, len(columns))
	for i := range columns {
		out[i] = target{column: columns[i]}
	}
	return out
}

// targetList follows a select list, expanding stars.
func (a *analyzer) targetList(list []*ast.Node, s *scope) []target {
	out := make([]target, 0, len(list))
	for _, n := range list {
		t, ok := ast.Unwrap(n).(*ast.ResTarget)
		if !ok {
			a.unsupported(ast.Unwrap(n), "this entry of the select list")
			return out
		}
		if columns, ok := a.star(t.Val, s); ok {
			for _, c := range columns {
				out = append(out, target{column: c})
			}
		} else {
			v := a.expr(t.Val, s)
			name := t.Name
			if name == "" {
				name = a.columnName(t.Val)
			}
			out = append(out, target{column: v.column(name), node: t.Val})
		}
		if len(out) > maxTargets {
			a.refuse(CodeTooComplex, -1, "Select fewer columns.", "target lists can have at most %d entries", maxTargets)
			return out
		}
	}
	return out
}

// star expands *, t.* and (row).*; ok is false for anything else.
func (a *analyzer) star(n *ast.Node, s *scope) (columns []column, ok bool) {
	switch n := ast.Unwrap(n).(type) {
	case *ast.ColumnRef:
		if len(n.Fields) == 0 || !isStar(n.Fields[len(n.Fields)-1]) {
			return nil, false
		}
		if len(n.Fields) == 1 {
			return a.starColumns(a.bareColumns(visible(s))), true
		}
		i := a.qualifier(stringList(n.Fields[:len(n.Fields)-1]), s, n.Location)
		if i == nil {
			return nil, true
		}
		return a.starColumns(columnPointers(i.columns)), true
	case *ast.A_Indirection:
		if len(n.Indirection) == 0 || !isStar(n.Indirection[len(n.Indirection)-1]) {
			return nil, false
		}
		base := a.indirection(a.expr(n.Arg, s), n.Indirection[:len(n.Indirection)-1], s, locate(n.Arg))
		return a.starFields(base, locate(n.Arg)), true
	}
	return nil, false
}

// visible are the items of the scope itself that * means.
func visible(s *scope) []*item {
	return slices.DeleteFunc(slices.Clone(s.items), func(i *item) bool { return i.lateralOnly })
}

func columnPointers(columns []column) []*column {
	out := make([]*column, len(columns))
	for i := range columns {
		out[i] = &columns[i]
	}
	return out
}

// starColumns reads every column that a star means.
func (a *analyzer) starColumns(columns []*column) []column {
	out := make([]column, 0, min(len(columns), maxTargets+1))
	if !a.spend(len(columns)) {
		return out
	}
	for _, c := range columns {
		if len(out) > maxTargets {
			break // refused by the caller
		}
		v := a.read(c)
		out = append(out, v.column(c.name))
	}
	return out
}

// starFields expands a row value, whose columns must be known.
func (a *analyzer) starFields(v value, location int32) []column {
	fields := a.fieldsOf(v)
	if fields == nil {
		a.refuse(CodeUnsupported, location, "Name the fields.", "the columns of this row are not known")
	}
	return fields
}

// fieldsOf returns the columns of a row value: those that are known from where
// it came, or those of its composite type, each as secret as the whole.
func (a *analyzer) fieldsOf(v value) []column {
	if v.fields != nil {
		return slices.Clone(v.fields)
	}
	t := a.cat.Type(a.cat.BaseType(v.typ))
	if t == nil || t.Relation == 0 {
		return nil
	}
	r := a.cat.Relation(t.Relation)
	if r == nil {
		return nil
	}
	out := make([]column, len(r.Columns))
	for i := range r.Columns {
		out[i] = column{name: r.Columns[i].Name, typ: r.Columns[i].Type, label: v.label.derive(), traits: columnTraits(r, &r.Columns[i]).with(v.traits)}
	}
	return out
}

func isStar(n *ast.Node) bool {
	_, ok := ast.Unwrap(n).(*ast.A_Star)
	return ok
}

// sort follows ORDER BY. A bare name is an output's if there is one, a whole
// number a position.
func (a *analyzer) sort(list []*ast.Node, s *scope, targets []target, clause string) {
	for _, n := range list {
		by, ok := ast.Unwrap(n).(*ast.SortBy)
		if !ok {
			a.unsupported(ast.Unwrap(n), "this ORDER BY")
			return
		}
		v, ok := a.outputReference(by.Node, targets)
		if !ok {
			v = a.expr(by.Node, s)
		}
		a.control(v.label, useOrder, clause, locate(by.Node))
		a.sortOperator(by, v)
	}
}

// sortOperator follows the operator of ORDER BY … USING; the others are the
// type's own.
func (a *analyzer) sortOperator(by *ast.SortBy, v value) {
	if len(by.UseOp) > 0 {
		a.operator(stringList(by.UseOp), v, v, by.Location)
	}
}

// outputReference resolves a bare name or number to the output that it means.
// Several outputs of one name are joined.
func (a *analyzer) outputReference(n *ast.Node, targets []target) (value, bool) {
	switch n := ast.Unwrap(n).(type) {
	case *ast.ColumnRef:
		names := stringList(n.Fields)
		if len(names) != 1 || names[0] == "" {
			return value{}, false
		}
		var v value
		found := false
		for i := range targets {
			if targets[i].name == names[0] {
				v.label = join(v.label, targets[i].label)
				v.typ = targets[i].typ
				found = true
			}
		}
		return v, found
	case *ast.A_Const:
		if i := n.GetIval(); i != nil && !n.Isnull {
			p := int(i.Ival)
			if p < 1 || p > len(targets) {
				a.refuse(CodeUnknown, n.Location, "", "this position is not in the select list")
				return value{}, true
			}
			return targets[p-1].value(), true
		}
	}
	return value{}, false
}

// groupItem follows an item of GROUP BY: a bare name is a column's if there is
// one, else an output's.
func (a *analyzer) groupItem(n *ast.Node, s *scope, targets []target) {
	switch g := ast.Unwrap(n).(type) {
	case *ast.GroupingSet:
		for _, c := range g.Content {
			a.groupItem(c, s, targets)
		}
		return
	case *ast.RowExpr:
		for _, c := range g.Args {
			a.groupItem(c, s, targets)
		}
		return
	case *ast.List:
		for _, c := range g.Items {
			a.groupItem(c, s, targets)
		}
		return
	case *ast.ColumnRef:
		names := stringList(g.Fields)
		if len(names) == 1 && names[0] != "" && !hasColumn(s, names[0]) {
			if v, ok := a.outputReference(n, targets); ok {
				a.control(v.label, useGroup, "GROUP BY", g.Location)
				return
			}
		}
	case *ast.A_Const:
		if v, ok := a.outputReference(n, targets); ok {
			a.control(v.label, useGroup, "GROUP BY", g.Location)
			return
		}
	}
	a.control(a.expr(n, s).label, useGroup, "GROUP BY", locate(n))
}

// hasColumn reports whether a column of that name is at the scope's own level.
func hasColumn(s *scope, name string) bool {
	for _, i := range s.items {
		if i.bare && slices.ContainsFunc(i.columns, func(c column) bool { return c.name == name }) {
			return true
		}
	}
	return false
}

// distinct follows DISTINCT, which compares every output, and DISTINCT ON.
func (a *analyzer) distinct(list []*ast.Node, s *scope, targets []target) {
	for _, n := range list {
		if ast.Unwrap(n) == nil { // plain DISTINCT is a list of one empty node
			for i := range targets {
				a.control(targets[i].label, useGroup, "DISTINCT", locate(targets[i].node))
			}
			continue
		}
		v, ok := a.outputReference(n, targets)
		if !ok {
			v = a.expr(n, s)
		}
		a.control(v.label, useGroup, "DISTINCT ON", locate(n))
	}
}

// window follows a window's definition.
func (a *analyzer) window(w *ast.WindowDef, s *scope) {
	if w == nil {
		return
	}
	for _, n := range w.PartitionClause {
		a.control(a.expr(n, s).label, useGroup, "PARTITION BY", locate(n))
	}
	a.sort(w.OrderClause, s, nil, "ORDER BY of a window")
	a.predicate(w.StartOffset, s, "a window's frame")
	a.predicate(w.EndOffset, s, "a window's frame")
}

func valuesName(i int) string { return "column" + strconv.Itoa(i+1) }
