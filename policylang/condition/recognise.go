package condition

import (
	"strconv"
	"time"

	celast "github.com/google/cel-go/common/ast"
	"github.com/google/cel-go/common/operators"
	"github.com/google/cel-go/common/types"

	"github.com/posternhq/postern/policylang"
)

// common recognises the parts that have nodes of their own.
func (b *builder) common(e celast.Expr) (node, bool) {
	switch e.Kind() {
	case celast.LiteralKind:
		if v, ok := e.AsLiteral().(types.Bool); ok {
			return constNode(valueOf(bool(v))), true
		}
	case celast.SelectKind:
		return b.selection(e)
	case celast.CallKind:
		return b.call(e)
	case celast.ComprehensionKind:
		return b.exists(e)
	case celast.IdentKind, celast.ListKind, celast.MapKind, celast.StructKind, celast.UnspecifiedExprKind:
	}
	return nil, false
}

func (b *builder) selection(e celast.Expr) (node, bool) {
	s := e.AsSelect()
	if s.IsTestOnly() {
		if s.Operand().Kind() == celast.IdentKind && s.Operand().AsIdent() == "token" {
			return claimNode{claim: s.FieldName()}, true
		}
		return nil, false
	}
	f, src, ok := b.field(e)
	if !ok || f.flag == nil {
		return nil, false
	}
	return flagNode{source: src, get: f.flag}, true
}

// field finds the field of a variable that an expression selects.
func (b *builder) field(e celast.Expr) (field, source, bool) {
	if e.Kind() != celast.SelectKind || e.AsSelect().IsTestOnly() || e.AsSelect().Operand().Kind() != celast.IdentKind {
		return field{}, source{}, false
	}
	name, fieldName := e.AsSelect().Operand().AsIdent(), e.AsSelect().FieldName()
	for _, v := range b.env.variables {
		if v.name != name {
			continue
		}
		for _, f := range v.fields {
			if f.name == fieldName {
				return f, source{name: name + "." + fieldName, deps: v.depend | f.depend}, true
			}
		}
	}
	return field{}, source{}, false
}

func (b *builder) call(e celast.Expr) (node, bool) {
	c := e.AsCall()
	switch c.FunctionName() {
	case operators.Equals:
		return b.equality(c.Args()[0], c.Args()[1])
	case operators.NotEquals:
		n, ok := b.equality(c.Args()[0], c.Args()[1])
		return notNode{of: n}, ok
	case operators.In:
		return b.membership(c.Args()[0], c.Args()[1])
	case operators.Less:
		return b.order(c.Args()[0], c.Args()[1], less)
	case operators.LessEquals:
		return b.order(c.Args()[0], c.Args()[1], lessEqual)
	case operators.Greater:
		return b.order(c.Args()[0], c.Args()[1], greater)
	case operators.GreaterEquals:
		return b.order(c.Args()[0], c.Args()[1], greaterEqual)
	}
	if c.IsMemberFunction() && len(c.Args()) == 1 {
		return b.member(c)
	}
	return nil, false
}

func (b *builder) equality(x, y celast.Expr) (node, bool) {
	if x.Kind() == celast.LiteralKind {
		x, y = y, x
	}
	if s, ok := b.text(y); ok {
		return b.textIn(x, []string{s})
	}
	return b.order(x, y, equal)
}

func (b *builder) membership(x, y celast.Expr) (node, bool) {
	if values, ok := b.texts(y); ok {
		if len(values) == 0 {
			return constNode(False), true
		}
		return b.textIn(x, values)
	}
	s, ok := b.text(x)
	if !ok {
		return nil, false
	}
	return b.listHas(y, []string{s})
}

func (b *builder) listHas(e celast.Expr, values []string) (node, bool) {
	f, src, ok := b.field(e)
	if !ok || f.list == nil {
		return nil, false
	}
	return listNode{source: src, get: f.list, values: sorted(values)}, true
}

// textIn is x in values, where x is a field, a claim or a clock.
func (b *builder) textIn(x celast.Expr, values []string) (node, bool) {
	n := textNode{values: sorted(values)}
	if f, src, ok := b.field(x); ok && f.text != nil {
		n.source = src
		n.unsure = src.deps.Has(DependsStatement)
		n.get = func(in *Input) (string, textState) {
			s, known := f.text(in)
			if !known {
				return "", textUnknown
			}
			return s, textKnown
		}
		return n, true
	}
	if claim, ok := b.claim(x); ok {
		n.source = source{name: "token." + claim, deps: DependsToken}
		n.get = claimText(claim)
		return n, true
	}
	if c, zone, src, ok := b.clock(x); ok && c.text != nil {
		n.source = src
		read := clockText(c, zone)
		n.get = func(in *Input) (string, textState) { return read(in), textKnown }
		return n, true
	}
	return nil, false
}

// claim is token.claim or token["claim"].
func (b *builder) claim(e celast.Expr) (string, bool) {
	isToken := func(e celast.Expr) bool { return e.Kind() == celast.IdentKind && e.AsIdent() == "token" }
	switch {
	case e.Kind() == celast.SelectKind && !e.AsSelect().IsTestOnly() && isToken(e.AsSelect().Operand()):
		return e.AsSelect().FieldName(), true
	case isCall(e, operators.Index) && isToken(e.AsCall().Args()[0]):
		return b.text(e.AsCall().Args()[1])
	}
	return "", false
}

func claimText(claim string) func(*Input) (string, textState) {
	return func(in *Input) (string, textState) {
		v, found := in.Token[claim]
		if !found {
			return "", textAbsent
		}
		s, ok := v.(string)
		if !ok {
			return "", textOther
		}
		return s, textKnown
	}
}

// clock is now.hour("Europe/Berlin") and the like.
func (b *builder) clock(e celast.Expr) (clock, *time.Location, source, bool) {
	if e.Kind() != celast.CallKind || !e.AsCall().IsMemberFunction() || len(e.AsCall().Args()) != 1 {
		return clock{}, nil, source{}, false
	}
	c := e.AsCall()
	name, ok := b.text(c.Args()[0])
	if !ok || c.Target().Kind() != celast.IdentKind || c.Target().AsIdent() != "now" {
		return clock{}, nil, source{}, false
	}
	for _, k := range b.env.clocks {
		if k.name != c.FunctionName() {
			continue
		}
		z, err := loadZone(name)
		if err != nil {
			return clock{}, nil, source{}, false
		}
		return k, z, source{name: "now." + k.name + "(" + name + ")", deps: DependsNow}, true
	}
	return clock{}, nil, source{}, false
}

// order compares a number, or a clock, with a constant.
func (b *builder) order(x, y celast.Expr, op comparison) (node, bool) {
	if x.Kind() == celast.LiteralKind {
		x, y, op = y, x, op.mirrored()
	}
	if y.Kind() != celast.LiteralKind {
		return nil, false
	}
	switch v := y.AsLiteral().(type) {
	case types.Int:
		n := orderNode[int64]{op: op, value: int64(v), text: strconv.FormatInt(int64(v), 10)}
		if f, src, ok := b.field(x); ok && f.number != nil {
			n.source, n.get = src, f.number
			return n, true
		}
		if c, zone, src, ok := b.clock(x); ok && c.number != nil {
			n.source, n.get = src, clockNumber(c, zone)
			return n, true
		}
	case types.String:
		if c, zone, src, ok := b.clock(x); ok && c.text != nil {
			s, _ := b.text(y)
			return orderNode[string]{source: src, get: clockText(c, zone), op: op, value: s, text: strconv.Quote(s)}, true
		}
	}
	return nil, false
}

// mirrored is the operator with its operands swapped.
func (c comparison) mirrored() comparison {
	switch c {
	case less:
		return greater
	case lessEqual:
		return greaterEqual
	case greater:
		return less
	case greaterEqual:
		return lessEqual
	case equal:
	}
	return c
}

// member is a member function with one constant argument.
func (b *builder) member(c celast.CallExpr) (node, bool) {
	arg, ok := b.text(c.Args()[0])
	if !ok {
		return nil, false
	}
	if c.FunctionName() == "in_cidr" {
		f, src, ok := b.field(c.Target())
		network, err := parseCIDR(arg)
		if !ok || err != nil || src.name != "session.client_addr" || f.text == nil {
			return nil, false
		}
		return cidrNode{network: network}, true
	}
	if c.Target().Kind() != celast.IdentKind {
		return nil, false
	}
	switch target := c.Target().AsIdent(); {
	case target == "identity" && c.FunctionName() == "in_group":
		return listNode{source: source{"identity.groups", DependsIdentity}, get: groups, values: []string{arg}}, true
	case target == "statement":
		return b.globCall(c.FunctionName(), arg)
	}
	return nil, false
}

func groups(in *Input) list { return list{items: in.Subject.Groups} }

func (b *builder) globCall(name, pattern string) (node, bool) {
	for _, m := range b.env.members {
		if m.name != name || m.receiver != statementTypeName {
			continue
		}
		g, err := policylang.ParseGlob(pattern, m.parts)
		if err != nil {
			return nil, false
		}
		return globNode{name: "statement." + name, pattern: pattern, glob: g, call: m.call, index: globKeys(name, g)}, true
	}
	return nil, false
}

// exists is list.exists(x, x == value || ...).
func (b *builder) exists(e celast.Expr) (node, bool) {
	macro, ok := b.ast.SourceInfo().GetMacroCall(e.ID())
	if !ok || macro.Kind() != celast.CallKind {
		return nil, false
	}
	c := macro.AsCall()
	if c.FunctionName() != operators.Exists || !c.IsMemberFunction() || len(c.Args()) != 2 || c.Args()[0].Kind() != celast.IdentKind {
		return nil, false
	}
	values, ok := b.alternatives(c.Args()[1], c.Args()[0].AsIdent())
	if !ok {
		return nil, false
	}
	return b.listHas(c.Target(), values)
}

// alternatives are the values that a predicate compares the variable with, if
// it does nothing else.
func (b *builder) alternatives(e celast.Expr, variable string) ([]string, bool) {
	if e.Kind() != celast.CallKind || len(e.AsCall().Args()) != 2 || e.AsCall().IsMemberFunction() {
		return nil, false
	}
	isVariable := func(e celast.Expr) bool { return e.Kind() == celast.IdentKind && e.AsIdent() == variable }
	x, y := e.AsCall().Args()[0], e.AsCall().Args()[1]
	switch e.AsCall().FunctionName() {
	case operators.Equals:
		if isVariable(y) {
			x, y = y, x
		}
		s, ok := b.text(y)
		return []string{s}, ok && isVariable(x)
	case operators.In:
		values, ok := b.texts(y)
		return values, ok && isVariable(x)
	case operators.LogicalOr:
		left, ok := b.alternatives(x, variable)
		right, ok2 := b.alternatives(y, variable)
		return append(left, right...), ok && ok2
	}
	return nil, false
}
