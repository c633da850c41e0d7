package condition

import (
	"errors"
	"fmt"

	celast "github.com/google/cel-go/common/ast"
	"github.com/google/cel-go/common/operators"
	"github.com/google/cel-go/parser"
)

// builder turns a checked expression into nodes.
type builder struct {
	env   *environment
	ast   *celast.AST
	spans *spans
	plain bool // every part is a CEL program; for the differential test

	// The AST may be a template's, whose strings stand for these; then there
	// are no spans.
	from    *template
	strings []token
}

func (b *builder) condition() (*Condition, error) {
	parts := b.split(part{expr: b.ast.Expr()}, nil)
	c := &Condition{conjuncts: make([]*Conjunct, 0, len(parts))}
	for _, p := range parts {
		n, err := b.node(p.expr)
		if err != nil {
			return nil, err
		}
		if p.negated {
			n = notNode{of: n}
		}
		j := &Conjunct{node: n, deps: n.deps(), id: n.id(), keys: n.keys()}
		switch {
		case b.from != nil:
		case len(parts) > 1:
			j.Offset, j.Length, j.Negated = p.span(b.spans, b.ast)
		default:
			j.Length = len(b.spans.expr)
		}
		c.conjuncts = append(c.conjuncts, j)
	}
	return c, nil
}

// text is the string that a literal stands for.
func (b *builder) text(e celast.Expr) (string, bool) {
	s, ok := literalString(e)
	if ok && b.from != nil {
		s = b.strings[b.from.which[e.ID()]].content()
	}
	return s, ok
}

// texts are the strings that a list of literals stands for.
func (b *builder) texts(e celast.Expr) ([]string, bool) {
	if e.Kind() != celast.ListKind || len(e.AsList().OptionalIndices()) > 0 {
		return nil, false
	}
	elements := e.AsList().Elements()
	values := make([]string, 0, len(elements))
	for _, x := range elements {
		s, ok := b.text(x)
		if !ok {
			return nil, false
		}
		values = append(values, s)
	}
	return values, true
}

// part is an operand of the outermost &&, perhaps negated.
type part struct {
	expr    celast.Expr
	negated bool
	whole   celast.Expr // expr with its own ! before it; nil if it has none
	around  bool        // whole is negated too, by a ! around several
}

// span is where the part stands, and whether the ! that negates it stands
// elsewhere.
func (p part) span(s *spans, ast *celast.AST) (offset, length int, negated bool) {
	if p.whole != nil {
		offset, length = s.of(ast, p.whole)
		return offset, length, p.around
	}
	offset, length = s.of(ast, p.expr)
	return offset, length, p.negated
}

// split takes the conjunction apart; !(a || b) is !a && !b.
func (b *builder) split(p part, into []part) []part {
	op := operators.LogicalAnd
	if p.negated {
		op = operators.LogicalOr
	}
	switch {
	case isCall(p.expr, op) && !b.plain:
		for _, arg := range p.expr.AsCall().Args() {
			into = b.split(part{expr: arg, negated: p.negated}, into)
		}
		return into
	case isCall(p.expr, operators.LogicalNot) && !b.plain:
		inner := part{expr: p.expr.AsCall().Args()[0], negated: !p.negated, whole: p.whole, around: p.around}
		if inner.whole == nil {
			inner.whole, inner.around = p.expr, p.negated
		}
		return b.split(inner, into)
	}
	return append(into, p)
}

func (b *builder) node(e celast.Expr) (node, error) {
	if b.plain {
		return b.program(e)
	}
	switch {
	case isCall(e, operators.LogicalAnd):
		nodes, err := b.operands(e, operators.LogicalAnd, nil)
		return andNode(nodes), err
	case isCall(e, operators.LogicalOr):
		nodes, err := b.operands(e, operators.LogicalOr, nil)
		return orNode(nodes), err
	case isCall(e, operators.LogicalNot):
		n, err := b.node(e.AsCall().Args()[0])
		return notNode{of: n}, err
	}
	if n, ok := b.common(e); ok {
		return n, nil
	}
	return b.program(e)
}

// operands flattens a chain of one operator.
func (b *builder) operands(e celast.Expr, op string, into []node) ([]node, error) {
	for _, arg := range e.AsCall().Args() {
		var err error
		if isCall(arg, op) {
			into, err = b.operands(arg, op, into)
		} else {
			var n node
			n, err = b.node(arg)
			into = append(into, n)
		}
		if err != nil {
			return nil, err
		}
	}
	return into, nil
}

// program plans a part as a program of CEL's.
func (b *builder) program(e celast.Expr) (node, error) {
	if b.from != nil {
		return nil, errTemplate
	}
	info := b.ast.SourceInfo()
	text, err := parser.Unparse(e, info)
	if err != nil {
		return nil, fmt.Errorf("write expression: %w", err)
	}
	checked := celast.NewCheckedAST(celast.NewAST(e, info), b.ast.TypeMap(), b.ast.ReferenceMap())
	p, err := b.env.plan(checked)
	if err != nil {
		return nil, err
	}
	return &programNode{program: p, source: text, depend: b.dependencies(e)}, nil
}

var errTemplate = errors.New("a template is no expression that CEL could run")

// dependencies are the variables that a part mentions.
func (b *builder) dependencies(e celast.Expr) Deps {
	var d Deps
	vars := variables()
	celast.PostOrderVisit(e, celast.NewExprVisitor(func(e celast.Expr) {
		if _, src, ok := b.field(e); ok {
			d |= src.deps
		}
		if e.Kind() != celast.IdentKind {
			return
		}
		for _, v := range vars {
			if v.name == e.AsIdent() {
				d |= v.depend
			}
		}
	}))
	return d
}
