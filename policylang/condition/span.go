package condition

import (
	celast "github.com/google/cel-go/common/ast"
)

// spans turns CEL's positions, in characters, into byte ranges.
type spans struct {
	expr   string
	bytes  []int // byte offset of each character, and of the end; nil if each is one byte
	tokens []token
}

func newSpans(expr string) *spans {
	s := &spans{expr: expr}
	if isASCII(expr) {
		return s
	}
	for i := range expr {
		s.bytes = append(s.bytes, i)
	}
	s.bytes = append(s.bytes, len(expr))
	return s
}

// offset returns the byte offset of a character.
func (s *spans) offset(character int32) int {
	if s.bytes == nil {
		return max(0, min(int(character), len(s.expr)))
	}
	return s.bytes[max(0, min(int(character), len(s.bytes)-1))]
}

func (s *spans) lexed() []token {
	if s.tokens == nil {
		tokens(s.expr, func(t token) bool {
			s.tokens = append(s.tokens, t)
			return true
		})
	}
	return s.tokens
}

// of returns the byte range of a part of the expression, brackets around it
// left out.
func (s *spans) of(ast *celast.AST, e celast.Expr) (offset, length int) {
	start, end := len(s.expr), 0
	info := ast.SourceInfo()
	note := func(e celast.Expr) {
		if r, ok := info.GetOffsetRange(e.ID()); ok {
			start = min(start, s.offset(r.Start))
			end = max(end, s.offset(r.Stop), s.tokenEnd(s.offset(r.Start)))
		}
	}
	visitor := celast.NewExprVisitor(note)
	celast.PostOrderVisit(e, visitor)
	celast.PostOrderVisit(e, celast.NewExprVisitor(func(e celast.Expr) {
		if macro, ok := info.GetMacroCall(e.ID()); ok {
			celast.PostOrderVisit(macro, visitor)
		}
	}))
	if start >= end {
		return 0, len(s.expr)
	}
	start, end = s.balance(start, end)
	return start, end - start
}

// tokenEnd returns the end of the token at or after the offset.
func (s *spans) tokenEnd(offset int) int {
	for _, t := range s.lexed() {
		if t.end() > offset {
			return t.end()
		}
	}
	return offset
}

// balance widens a range until its brackets are closed and its tokens whole.
func (s *spans) balance(start, end int) (int, int) {
	toks := s.lexed()
	first, last := 0, len(toks)-1
	for i, t := range toks {
		if t.end() <= start {
			first = i + 1
		}
		if t.offset < end {
			last = i
		}
	}
	open, unopened := 0, 0
	for _, t := range toks[first : last+1] {
		switch {
		case t.opens():
			open++
		case t.closes() && open > 0:
			open--
		case t.closes():
			unopened++
		}
	}
	for ; open > 0 && last+1 < len(toks); last++ {
		switch t := toks[last+1]; {
		case t.opens():
			open++
		case t.closes():
			open--
		}
	}
	for ; unopened > 0 && first > 0; first-- {
		switch t := toks[first-1]; {
		case t.opens():
			unopened--
		case t.closes():
			unopened++
		}
	}
	return s.whole(first, last)
}

// whole adds a function's name before its bracket and a field's name behind
// its dot: CEL's positions are those of bracket and dot.
func (s *spans) whole(first, last int) (int, int) {
	toks := s.lexed()
	if toks[first].text == "(" && first > 0 && toks[first-1].isWord() && toks[first-1].text != "in" {
		first--
	}
	if toks[last].text == "." && last+1 < len(toks) {
		last++
	}
	return toks[first].offset, toks[last].end()
}
