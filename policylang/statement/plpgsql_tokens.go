package statement

// bodyReader finds the SQL in a body of PL/pgSQL.
type bodyReader struct {
	text    string
	tokens  []token // ends with a tokenEnd
	at      int
	depth   int
	pieces  []piece
	dynamic []string // arguments of EXECUTE
	failed  bool     // something was not understood
}

func newBodyReader(text string) *bodyReader {
	r := &bodyReader{text: text}
	l := lexer{text: text}
	for {
		tok := l.next()
		r.tokens = append(r.tokens, tok)
		if tok.kind == tokenEnd {
			return r
		}
	}
}

// body reads the whole text.
func (r *bodyReader) body() {
	for r.operator("#") { // compiler options
		r.at++
		r.at++
	}
	r.block()
	r.accept(";")
	if !r.failed && r.token().kind != tokenEnd {
		r.fail()
	}
}

func (r *bodyReader) fail() {
	r.failed = true
	r.at = len(r.tokens) - 1
}

func (r *bodyReader) token() token { return r.tokens[min(r.at, len(r.tokens)-1)] }

func (r *bodyReader) ahead(n int) token { return r.tokens[min(r.at+n, len(r.tokens)-1)] }

func (r *bodyReader) textOf(t token) string { return r.text[t.start:t.end] }

// is reports whether the token is that word, given in lower case, or that
// punctuation.
func (r *bodyReader) is(t token, want string) bool {
	if t.kind == tokenWord {
		return equalWord(r.textOf(t), want)
	}
	return among(t.kind, tokenPunct, tokenOperator, tokenDotDot) && r.textOf(t) == want
}

// isAny reports whether the current token is one of the words.
func (r *bodyReader) isAny(words ...string) bool {
	for _, w := range words {
		if r.is(r.token(), w) {
			return true
		}
	}
	return false
}

// accept moves past the token if it is the wanted one.
func (r *bodyReader) accept(want string) bool {
	if r.is(r.token(), want) {
		r.at++
		return true
	}
	return false
}

func (r *bodyReader) expect(want string) {
	if !r.accept(want) {
		r.fail()
	}
}

// operator moves past an operator.
func (r *bodyReader) operator(want string) bool {
	if t := r.token(); t.kind == tokenOperator && r.textOf(t) == want {
		r.at++
		return true
	}
	return false
}

// span is a run of tokens.
type span struct{ from, to int }

func (r *bodyReader) spanText(s span) string {
	if s.from >= s.to {
		return ""
	}
	return r.text[r.tokens[s.from].start:r.tokens[s.to-1].end]
}

// until moves to the first of the wanted tokens outside of brackets, as
// PL/pgSQL does, and returns what it passed. A semicolon always stops it.
func (r *bodyReader) until(wanted ...string) span {
	s := span{from: r.at}
	s.to = r.find(span{r.at, len(r.tokens) - 1}, append(wanted, ";")...)
	if s.to < 0 {
		r.fail()
		return span{}
	}
	r.at = s.to
	return s
}

// find returns the place of the first of the wanted tokens of a span outside of
// brackets, or -1.
func (r *bodyReader) find(s span, wanted ...string) int {
	brackets := 0
	for i := s.from; i < s.to; i++ {
		t := r.tokens[i]
		if brackets == 0 && (i == 0 || !r.is(r.tokens[i-1], ".")) {
			for _, w := range wanted {
				if r.is(t, w) {
					return i
				}
			}
		}
		switch {
		case r.is(t, "("), r.is(t, "["):
			brackets++
		case r.is(t, ")"), r.is(t, "]"):
			if brackets--; brackets < 0 {
				return -1
			}
		}
	}
	return -1
}

// expression adds an expression, or a list of them.
func (r *bodyReader) expression(s span) {
	if s.from < s.to {
		r.pieces = append(r.pieces, piece{sql: "SELECT " + r.spanText(s), expression: true})
	}
}

// expressionBefore reads an expression that a word ends.
func (r *bodyReader) expressionBefore(word string) {
	s := r.until(word)
	if s.from == s.to {
		r.fail()
	}
	r.expect(word)
	r.expression(s)
}

// expressionToEnd reads an expression that the statement ends with.
func (r *bodyReader) expressionToEnd() {
	s := r.until()
	if s.from == s.to {
		r.fail()
	}
	r.expression(s)
	r.expect(";")
}
