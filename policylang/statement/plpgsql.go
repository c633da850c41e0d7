package statement

import (
	"strings"

	"github.com/posternhq/postern/policylang/internal/ast"
)

// PL/pgSQL is read here and not by the C library: its PL/pgSQL parser ends the
// process on a body that is missing, and whenever another goroutine writes to
// standard error at the same time. The reader finds the SQL in a body, which
// the SQL parser then reads; what it does not understand makes the body opaque.

const (
	maxBodyDepth      = 500    // of IF, LOOP and blocks
	maxBodyStatements = 10_000 // in one body
	maxBodyDynamic    = 100    // EXECUTEs in one body
)

// plpgsql reads the body of a routine written in PL/pgSQL.
func (c *collector) plpgsql(text string) {
	if c.bodies >= maxBodies || check(text, c.bodyLimits()) != nil {
		c.opaque()
		return
	}
	r := newBodyReader(text)
	r.body()
	for _, s := range r.dynamic[:min(len(r.dynamic), maxBodyDynamic)] {
		c.dynamicSQL(s)
	}
	if r.failed || len(r.dynamic) > maxBodyDynamic {
		c.opaque()
	}
	c.pieces(r.pieces)
}

func (c *collector) bodyLimits() Limits {
	l := c.limits
	l.MaxStatements = maxBodyStatements
	l.MaxBytes *= 2 // "SELECT " before each expression
	return l
}

// dynamicSQL reads the argument of EXECUTE: a constant is as good as a
// statement, all else cannot be read.
func (c *collector) dynamicSQL(expression string) {
	nodes, ok := c.parseNested("SELECT " + expression)
	if ok && len(nodes) == 1 {
		if s, ok := ast.Unwrap(nodes[0]).(*ast.SelectStmt); ok && len(s.GetTargetList()) == 1 {
			if t, ok := ast.Unwrap(s.GetTargetList()[0]).(*ast.ResTarget); ok {
				if text, ok := c.stringConstant(t.GetVal()); ok {
					c.sqlText(text)
					return
				}
			}
		}
	}
	c.opaque()
}

// pieces reads the SQL of a body, all at once since each call of the parser has
// its price.
func (c *collector) pieces(pieces []piece) {
	if len(pieces) == 0 {
		return
	}
	var b strings.Builder
	for _, p := range pieces {
		b.WriteString(p.sql)
		b.WriteString("\n;\n")
	}
	if check(b.String(), c.bodyLimits()) != nil {
		c.opaque()
		return
	}
	parsed, _, err := parseC(b.String())
	if err != nil || len(parsed.GetStmts()) != len(pieces) {
		c.opaque()
		return
	}
	c.bodies++
	for i, raw := range parsed.GetStmts() {
		m := ast.Unwrap(raw.GetStmt())
		if s, ok := m.(*ast.SelectStmt); ok && pieces[i].expression {
			c.selectStmt(s)
		} else {
			c.statement(m)
		}
	}
	c.bodies--
}

// piece is SQL found in a body: a statement, or an expression behind SELECT.
type piece struct {
	sql        string
	expression bool
}

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

// label reads <<label>>.
func (r *bodyReader) label() {
	for r.operator("<<") {
		r.at++
		if !r.operator(">>") {
			r.fail()
		}
	}
}

// block reads [DECLARE …] BEGIN … [EXCEPTION …] END [label], without the
// semicolon.
func (r *bodyReader) block() {
	r.label()
	for r.accept("declare") {
		for !r.failed && !r.isAny("begin", "declare") {
			r.declaration()
		}
	}
	r.expect("begin")
	r.statements("exception", "end")
	if r.accept("exception") {
		for r.accept("when") {
			r.until("then") // conditions are names
			r.expect("then")
			r.statements("when", "end")
		}
	}
	r.expect("end")
	if k := r.token().kind; k == tokenQuoted || k == tokenWord && !r.isAny("end") {
		r.at++ // the label
	}
}

// declaration reads a variable, an alias or a cursor.
func (r *bodyReader) declaration() {
	s := r.until()
	r.expect(";")
	if s.to-s.from < 2 {
		r.fail()
		return
	}
	if at := r.find(s, "cursor"); at > s.from && at <= s.from+3 {
		query := r.find(span{at, s.to}, "for", "is")
		if query < 0 {
			r.fail()
			return
		}
		r.sql(span{query + 1, s.to})
		return
	}
	if at := r.find(s, ":=", "=", "default"); at >= 0 {
		r.expression(span{at + 1, s.to})
	}
}

// statements reads statements up to one of the words.
func (r *bodyReader) statements(ends ...string) {
	if r.depth++; r.depth > maxBodyDepth {
		r.fail()
	}
	for !r.failed && !r.isAny(ends...) {
		if r.token().kind == tokenEnd {
			r.fail()
			break
		}
		r.statement()
	}
	r.depth--
}

func (r *bodyReader) statement() {
	r.label()
	if r.assignment() {
		return
	}
	if r.token().kind != tokenWord {
		r.fail()
		return
	}
	switch foldWord(r.textOf(r.token())) {
	case "declare", "begin":
		r.block()
		r.expect(";")
	case "if":
		r.ifStatement()
	case "case":
		r.caseStatement()
	case "loop":
		r.loop()
	case "while":
		r.at++
		r.expressionBefore("loop")
		r.at--
		r.loop()
	case "for", "foreach":
		r.forStatement()
	case "exit", "continue":
		r.at++
		r.until("when")
		if r.accept("when") {
			r.expression(r.until())
		}
		r.expect(";")
	case "return":
		r.returnStatement()
	case "raise":
		r.raise()
	case "assert":
		r.at++
		r.expressionToEnd()
	case "perform":
		r.at++
		s := r.until()
		r.pieces = append(r.pieces, piece{sql: "SELECT " + r.spanText(s)})
		r.expect(";")
	case "execute":
		r.at++
		r.execute(r.until())
		r.expect(";")
	case "open":
		r.open()
	case "get", "fetch", "move", "close", "null":
		r.until()
		r.expect(";")
	default:
		r.sqlToEnd()
	}
}

// assignment reads target := expression, if that is what comes.
func (r *bodyReader) assignment() bool {
	if k := r.token().kind; k != tokenWord && k != tokenQuoted && k != tokenParam {
		return false
	}
	i := r.at + 1
	for {
		switch t := r.tokens[min(i, len(r.tokens)-1)]; {
		case r.is(t, "."):
			i += 2
		case r.is(t, "["):
			end := r.find(span{i + 1, len(r.tokens) - 1}, "]")
			if end < 0 {
				return false
			}
			i = end + 1
		case t.kind == tokenOperator && (r.textOf(t) == ":=" || r.textOf(t) == "="):
			if i > r.at+1 && r.find(span{r.at, i}, "[") >= 0 {
				r.expression(span{r.at, i}) // for its subscripts
			}
			r.at = i + 1
			r.expressionToEnd()
			return true
		default:
			return false
		}
	}
}

func (r *bodyReader) ifStatement() {
	r.at++
	r.expressionBefore("then")
	r.statements("elsif", "elseif", "else", "end")
	for r.accept("elsif") || r.accept("elseif") {
		r.expressionBefore("then")
		r.statements("elsif", "elseif", "else", "end")
	}
	if r.accept("else") {
		r.statements("end")
	}
	r.expect("end")
	r.expect("if")
	r.expect(";")
}

func (r *bodyReader) caseStatement() {
	r.at++
	r.expression(r.until("when"))
	for r.accept("when") {
		r.expressionBefore("then")
		r.statements("when", "else", "end")
	}
	if r.accept("else") {
		r.statements("end")
	}
	r.expect("end")
	r.expect("case")
	r.expect(";")
}

// loop reads LOOP … END LOOP [label].
func (r *bodyReader) loop() {
	r.expect("loop")
	r.statements("end")
	r.expect("end")
	r.expect("loop")
	r.until()
	r.expect(";")
}

// forStatement reads FOR over a range, a query or a cursor, and FOREACH.
func (r *bodyReader) forStatement() {
	r.at++
	r.until("in")
	r.expect("in")
	s := r.until("loop")
	first := r.tokens[min(s.from, len(r.tokens)-1)]
	switch {
	case s.from == s.to:
		r.fail()
	case r.is(first, "array"):
		r.expression(span{s.from + 1, s.to})
	case r.is(first, "execute"):
		r.execute(span{s.from + 1, s.to})
	case r.find(s, "..") >= 0:
		r.forRange(s)
	case r.isQuery(first):
		r.sql(s)
	default:
		r.cursorArguments(s)
	}
	r.loop()
}

func (r *bodyReader) forRange(s span) {
	if r.is(r.tokens[s.from], "reverse") {
		s.from++
	}
	dots := r.find(s, "..")
	r.expression(span{s.from, dots})
	s.from = dots + 1
	if by := r.find(s, "by"); by >= 0 {
		r.expression(span{by + 1, s.to})
		s.to = by
	}
	r.expression(s)
}

// isQuery reports whether a token begins a statement that returns rows.
func (r *bodyReader) isQuery(t token) bool {
	for _, w := range []string{"(", "select", "with", "values", "table", "insert", "update", "delete", "merge", "explain", "show"} {
		if r.is(t, w) {
			return true
		}
	}
	return false
}

// cursorArguments reads name(argument, …) or a name alone.
func (r *bodyReader) cursorArguments(s span) {
	open := r.find(s, "(")
	switch {
	case open < 0 && s.to-s.from == 1:
	case open != s.from+1 || !r.is(r.tokens[s.to-1], ")") || r.find(span{open + 1, s.to - 1}, ":=", "=>") >= 0:
		r.fail()
	default:
		r.expression(span{open + 1, s.to - 1})
	}
}

func (r *bodyReader) returnStatement() {
	r.at++
	switch {
	case r.accept("query"):
		s := r.until()
		if r.is(r.tokens[s.from], "execute") {
			r.execute(span{s.from + 1, s.to})
		} else {
			r.sql(s)
		}
	default:
		r.accept("next")
		r.expression(r.until())
	}
	r.expect(";")
}

// raise reads RAISE [level] ['format' [, expression]…] [USING option = …].
func (r *bodyReader) raise() {
	r.at++
	s := r.until()
	r.expect(";")
	options := r.find(s, "using")
	if options >= 0 {
		r.raiseOptions(span{options + 1, s.to})
		s.to = options
	}
	if comma := r.find(s, ","); comma >= 0 {
		r.expression(span{comma + 1, s.to})
	}
}

func (r *bodyReader) raiseOptions(s span) {
	for s.from < s.to {
		one := span{s.from, s.to}
		if comma := r.find(s, ","); comma >= 0 {
			one.to = comma
		}
		s.from = one.to + 1
		value := r.find(one, "=", ":=")
		if value < 0 {
			r.fail()
			return
		}
		r.expression(span{value + 1, one.to})
	}
}

// execute reads the rest of EXECUTE expression [INTO …] [USING …].
func (r *bodyReader) execute(s span) {
	end := s.to
	for _, word := range []string{"into", "using"} {
		at := r.find(s, word)
		if at < 0 {
			continue
		}
		end = min(end, at)
		if word == "using" {
			rest := span{at + 1, s.to}
			if into := r.find(rest, "into"); into >= 0 {
				rest.to = into
			}
			r.expression(rest)
		}
	}
	if s.from >= end {
		r.fail()
		return
	}
	r.dynamic = append(r.dynamic, r.spanText(span{s.from, end}))
}

// open reads OPEN cursor [FOR query | FOR EXECUTE … | (arguments)].
func (r *bodyReader) open() {
	r.at++
	s := r.until()
	r.expect(";")
	at := r.find(s, "for")
	switch {
	case at < 0:
		r.cursorArguments(s)
	case at+1 < s.to && r.is(r.tokens[at+1], "execute"):
		r.execute(span{at + 2, s.to})
	default:
		r.sql(span{at + 1, s.to})
	}
}

// sqlToEnd reads a statement of SQL.
func (r *bodyReader) sqlToEnd() {
	s := r.until()
	for i := s.from; i+1 < s.to; i++ { // its semicolons are not ours
		if r.is(r.tokens[i], "begin") && r.is(r.tokens[i+1], "atomic") {
			r.fail()
			return
		}
	}
	r.expect(";")
	r.sql(s)
}

// sql adds a statement, without INTO and the variables that it names.
func (r *bodyReader) sql(s span) {
	if s.from >= s.to {
		r.fail()
		return
	}
	into := r.intoVariables(s)
	if into < 0 {
		r.pieces = append(r.pieces, piece{sql: r.spanText(s)})
		return
	}
	end := into + 1
	if end < s.to && r.is(r.tokens[end], "strict") {
		end++
	}
	for end < s.to {
		k := r.tokens[end].kind
		if k != tokenWord && k != tokenQuoted && k != tokenParam {
			r.fail()
			return
		}
		if end++; end < s.to && (r.is(r.tokens[end], ".") || r.is(r.tokens[end], ",")) {
			end++
			continue
		}
		break
	}
	r.pieces = append(r.pieces, piece{sql: r.spanText(span{s.from, into}) + " " + r.spanText(span{end, s.to})})
}

// intoVariables returns the place of the INTO that PL/pgSQL takes for its own:
// any but that of INSERT INTO, MERGE INTO and IMPORT … INTO.
func (r *bodyReader) intoVariables(s span) int {
	if r.is(r.tokens[s.from], "import") {
		return -1
	}
	for i := s.from + 1; i < s.to; i++ {
		if r.is(r.tokens[i], "into") && !r.is(r.tokens[i-1], "insert") && !r.is(r.tokens[i-1], "merge") && !r.is(r.tokens[i-1], ".") {
			return i
		}
	}
	return -1
}

// equalWord reports whether a word is that keyword, given in lower case. Only
// ASCII letters have case, as in PostgreSQL's scanner.
func equalWord(word, keyword string) bool {
	if len(word) != len(keyword) {
		return false
	}
	for i := range len(word) {
		if lower(word[i]) != keyword[i] {
			return false
		}
	}
	return true
}

// foldWord returns a word in lower case, as PostgreSQL folds it.
func foldWord(word string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'A' && r <= 'Z' {
			return r + ('a' - 'A')
		}
		return r
	}, word)
}
