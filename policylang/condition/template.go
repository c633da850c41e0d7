package condition

import (
	"slices"
	"strings"
	"unicode/utf8"

	celast "github.com/google/cel-go/common/ast"
	"github.com/google/cel-go/common/types"
)

// template is a checked expression that can be filled with other strings: no
// type depends on what is in a string.
type template struct {
	ast     *celast.AST
	strings []token       // in the expression that it was made of
	which   map[int64]int // the string that each literal of the AST, or of a macro in it, is
	cost    uint64        // CEL's estimate

	conjuncts []*Conjunct // of the condition that it was made of; nil if CEL runs a part of it
	constants []constant  // that have a syntax of their own
}

// constant is a string that is the last argument of a call.
type constant struct {
	call   celast.CallExpr
	number int // among the strings
}

// cheap reports whether an expression with other strings surely costs no more
// than is possible. An estimate grows with the lengths of strings, in each
// operation by those of two at most.
func (t *template) cheap(strs []token) bool {
	longer := uint64(1)
	for i, s := range strs {
		before, after := len(t.strings[i].content()), len(s.content())
		switch {
		case after <= before:
		case before == 0:
			return false // what an empty string is multiplied with does not show
		default:
			longer = max(longer, uint64((after+before-1)/before))
		}
	}
	return t.cost <= CostLimit/(longer*longer)
}

// skeletonOf returns an expression without the contents of its strings, and
// the tokens of these. They are nil if it has none, or if it is not so plain
// that another with the same skeleton surely has the same tokens but for the
// contents: with escapes, prefixes, triple quotes or characters beyond ASCII.
func skeletonOf(expr string) (skeleton string, strs []token) {
	var b strings.Builder
	b.Grow(len(expr))
	plain, last := true, 0
	tokens(expr, func(t token) bool {
		switch quote := t.text[len(t.text)-1]; {
		case quote != '"' && quote != '\'':
			return true
		case !isPlainString(t.text):
			plain = false
			return false
		}
		b.WriteString(expr[last : t.offset+1])
		strs, last = append(strs, t), t.end()-1
		return true
	})
	if !plain || strs == nil || !isASCII(expr) {
		return "", nil
	}
	b.WriteString(expr[last:])
	return b.String(), strs
}

// isPlainString reports whether a token is a string in single or double quotes
// that stands for what is between them.
func isPlainString(text string) bool {
	n := len(text)
	if n < 2 || text[0] != text[n-1] || text[0] != '"' && text[0] != '\'' {
		return false
	}
	return !strings.ContainsAny(text[1:n-1], "\\\"'\r\n")
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// content is what a plain string stands for.
func (t token) content() string { return t.text[1 : len(t.text)-1] }

// newTemplate returns a template of an expression with these strings, nil if
// CEL does not see the very same ones.
func newTemplate(ast *celast.AST, strs []token, cost uint64) *template {
	t := &template{ast: ast, strings: strs, cost: cost, which: make(map[int64]int, len(strs))}
	at := make(map[int]int, len(strs))
	for i, s := range strs {
		at[s.offset] = i
	}
	found, agree := make([]bool, len(strs)), true
	eachString(ast.Expr(), ast.SourceInfo(), func(e celast.Expr, value string) {
		r, placed := ast.SourceInfo().GetOffsetRange(e.ID())
		i, known := at[int(r.Start)]
		if !placed || !known || strs[i].content() != value {
			agree = false
			return
		}
		t.which[e.ID()], found[i] = i, true
	})
	for _, f := range found {
		agree = agree && f
	}
	if !agree {
		return nil
	}
	return t
}

// learn prepares [template.condition] by the condition that the template's own
// expression is.
func (t *template) learn(env *environment, expr string) {
	b := &builder{env: env, ast: t.ast, spans: newSpans(expr)}
	c, err := b.condition()
	if err != nil || slices.ContainsFunc(c.conjuncts, func(j *Conjunct) bool { return hasProgram(j.node) }) {
		return
	}
	t.conjuncts = c.conjuncts
	eachConstant(t.ast.Expr(), func(call celast.CallExpr, last celast.Expr) {
		if n, known := t.which[last.ID()]; known {
			t.constants = append(t.constants, constant{call, n})
		}
	})
}

func hasProgram(n node) bool {
	switch n := n.(type) {
	case *programNode:
		return true
	case notNode:
		return hasProgram(n.of)
	case andNode:
		return slices.ContainsFunc(n, hasProgram)
	case orNode:
		return slices.ContainsFunc(n, hasProgram)
	}
	return false
}

// condition makes the condition of an expression with the same skeleton and
// these strings, straight from the template. It returns nil if that cannot be
// done, or if something may be wrong with the expression.
func (t *template) condition(env *environment, strs []token) *Condition {
	if t.conjuncts == nil || !t.cheap(strs) {
		return nil
	}
	for _, c := range t.constants {
		if summary, _ := env.constantProblem(c.call, strs[c.number].content()); summary != "" {
			return nil
		}
	}
	b := &builder{env: env, ast: t.ast, from: t, strings: strs}
	c, err := b.condition()
	if err != nil {
		return nil
	}
	for i, j := range c.conjuncts {
		like := t.conjuncts[i]
		j.Offset, j.Negated = int(t.moved(int32(like.Offset), strs)), like.Negated
		j.Length = int(t.moved(int32(like.Offset+like.Length), strs)) - j.Offset
	}
	return c
}

// eachString visits the literal strings of an expression and of the macros
// that it was written with.
func eachString(e celast.Expr, info *celast.SourceInfo, visit func(celast.Expr, string)) {
	visitor := celast.NewExprVisitor(func(e celast.Expr) {
		if value, ok := literalString(e); ok {
			visit(e, value)
		}
	})
	celast.PostOrderVisit(e, visitor)
	for _, macro := range info.MacroCalls() {
		celast.PostOrderVisit(macro, visitor)
	}
}

// fill returns the AST of an expression with the same skeleton and these
// strings.
func (t *template) fill(strs []token) *celast.AST {
	factory := celast.NewExprFactory()
	e, info := factory.CopyExpr(t.ast.Expr()), celast.CopySourceInfo(t.ast.SourceInfo())
	eachString(e, info, func(e celast.Expr, _ string) {
		e.SetKindCase(factory.NewLiteral(e.ID(), types.String(strs[t.which[e.ID()]].content())))
	})
	for id, r := range info.OffsetRanges() {
		info.SetOffsetRange(id, celast.OffsetRange{Start: t.moved(r.Start, strs), Stop: t.moved(r.Stop, strs)})
	}
	return celast.NewCheckedAST(celast.NewAST(e, info), t.ast.TypeMap(), t.ast.ReferenceMap())
}

// moved is where an offset of the template's expression is in one with other
// strings.
func (t *template) moved(offset int32, strs []token) int32 {
	for i := len(strs) - 1; i >= 0; i-- {
		if before := int32(t.strings[i].end()); offset >= before {
			return offset - before + int32(strs[i].end())
		}
	}
	return offset
}
