package statement

import (
	"slices"
	"strings"
)

// tokenKind is the class of a token, as PostgreSQL's scan.l distinguishes
// them, as far as anybody here needs to know.
type tokenKind uint8

const (
	tokenEnd      tokenKind = iota // end of the text
	tokenError                     // unterminated or malformed: the parser will refuse the text
	tokenWord                      // identifier or keyword, not quoted
	tokenQuoted                    // "identifier"
	tokenUQuoted                   // U&"identifier"
	tokenString                    // 'text', E'text', $tag$text$tag$
	tokenUString                   // U&'text'
	tokenBits                      // B'101'
	tokenHexBits                   // X'1F'
	tokenInteger                   // fits 32 bits
	tokenFloat                     // any other number
	tokenParam                     // $1
	tokenOperator                  // + - <> :: := => and user-defined ones
	tokenPunct                     // one of ( ) [ ] , ; . :
	tokenDotDot                    // ..
	tokenOther                     // a byte that starts no token
)

// token is text[start:end]. A string that continues on a later line is one
// token.
type token struct {
	kind       tokenKind
	start, end int
}

// lexer cuts a text into tokens exactly as the C parser does, that is as
// PostgreSQL 16 with standard_conforming_strings on, skipping white space and
// comments. It never fails: what scan.l rejects is a tokenError, after which
// it goes on as well as it can. It allocates nothing and takes time linear in
// the text.
type lexer struct {
	text string
	pos  int
	// escaped says that the last string token holds a backslash escape whose
	// validity the lexer did not check.
	escaped bool
	// reread counts the characters that the C scanner reads and gives back: at
	// each comment or operator it reads on to the last operator character in a
	// row, and a row of comments without anything between them is one.
	reread int
	runEnd int // of the row of operator characters last looked at
}

// run returns the end of the row of operator characters that the byte at i is
// in.
func (l *lexer) run(i int) int {
	if i >= l.runEnd {
		l.runEnd = i
		for l.runEnd < len(l.text) && isOperator(l.text[l.runEnd]) {
			l.runEnd++
		}
	}
	return l.runEnd
}

// followedBy reports whether the next token is that word.
func (l lexer) followedBy(w word) bool {
	tok := l.next()
	return tok.kind == tokenWord && wordOf(l.text[tok.start:tok.end]) == w
}

// next returns the next token.
func (l *lexer) next() token {
	if unclosed := l.skipSpace(); unclosed {
		start := l.pos
		l.pos = len(l.text)
		return token{tokenError, start, l.pos}
	}
	if l.pos >= len(l.text) {
		return token{tokenEnd, l.pos, l.pos}
	}
	start := l.pos
	kind := l.scan()
	return token{kind, start, l.pos}
}

// skipSpace moves past white space and comments and reports whether a comment
// is not closed.
func (l *lexer) skipSpace() (unclosed bool) {
	for l.pos < len(l.text) {
		switch c := l.text[l.pos]; {
		case isSpace(c):
			l.pos++
		case c == '-' && l.peek(1) == '-':
			l.pos = lineEnd(l.text, l.pos)
		case c == '/' && l.peek(1) == '*':
			if !l.skipComment() {
				return true
			}
		default:
			return false
		}
	}
	return false
}

// skipComment moves past a comment and reports whether it is closed. Comments
// nest.
func (l *lexer) skipComment() (closed bool) {
	depth := 0
	for i := l.pos; i < len(l.text); {
		switch {
		case strings.HasPrefix(l.text[i:], "/*"):
			l.reread += l.run(i) - i
			depth++
			i += 2
		case strings.HasPrefix(l.text[i:], "*/"):
			depth--
			i += 2
			if depth == 0 {
				l.pos = i
				return true
			}
		default:
			i++
		}
	}
	return false
}

// peek returns the byte n places ahead, or 0.
func (l *lexer) peek(n int) byte {
	if l.pos+n < len(l.text) {
		return l.text[l.pos+n]
	}
	return 0
}

func (l *lexer) scan() tokenKind {
	c := l.text[l.pos]
	if isIdentStart(c) {
		return l.scanWordOrPrefixed(c)
	}
	switch {
	case isDigit(c), c == '.' && isDigit(l.peek(1)):
		return l.scanNumber()
	case c == '\'':
		l.pos++
		return l.scanQuoted(false, tokenString)
	case c == '"':
		l.pos++
		return l.scanIdentifier(tokenQuoted)
	case c == '$':
		return l.scanDollar()
	case isOperator(c):
		return l.scanOperator()
	}
	return l.scanPunct(c)
}

func (l *lexer) scanWordOrPrefixed(c byte) tokenKind {
	quote := l.peek(1)
	switch c {
	case 'b', 'B':
		if quote == '\'' {
			l.pos += 2
			return l.scanQuoted(false, tokenBits)
		}
	case 'x', 'X':
		if quote == '\'' {
			l.pos += 2
			return l.scanQuoted(false, tokenHexBits)
		}
	case 'e', 'E':
		if quote == '\'' {
			l.pos += 2
			return l.scanQuoted(true, tokenString)
		}
	case 'n', 'N': // the keyword NCHAR, then a plain string
		if quote == '\'' {
			l.pos++
			return tokenWord
		}
	case 'u', 'U':
		if quote == '&' && l.peek(2) == '\'' {
			l.pos += 3
			return l.scanQuoted(false, tokenUString)
		}
		if quote == '&' && l.peek(2) == '"' {
			l.pos += 3
			return l.scanIdentifier(tokenUQuoted)
		}
	}
	l.skipIdentifier()
	return tokenWord
}

func (l *lexer) skipIdentifier() {
	for l.pos < len(l.text) && isIdentCont(l.text[l.pos]) {
		l.pos++
	}
}

// scanQuoted moves past a string whose opening quote is behind it, with its
// continuations on later lines.
func (l *lexer) scanQuoted(backslash bool, kind tokenKind) tokenKind {
	doubled := kind != tokenBits && kind != tokenHexBits // '' stands for a quote
	l.escaped = false
	for l.pos < len(l.text) {
		c := l.text[l.pos]
		switch {
		case c == '\\' && backslash:
			l.escaped = true
			l.pos += 2
		case c != '\'':
			l.pos++
		case doubled && l.peek(1) == '\'':
			l.pos += 2
		default:
			l.pos++
			next, ok := continuation(l.text, l.pos)
			if !ok {
				return kind
			}
			l.pos = next
		}
	}
	l.pos = len(l.text) // an escape at the end may have gone past it
	return tokenError
}

// continuation reports whether the string that ended at i continues on a later
// line, and where its text goes on. The C parser, other than the server, sees
// no continuation behind a comment; it then refuses the text.
func continuation(text string, i int) (int, bool) {
	newline := false
	for i < len(text) && isSpace(text[i]) {
		newline = newline || isNewline(text[i])
		i++
	}
	if newline && i < len(text) && text[i] == '\'' {
		return i + 1, true
	}
	return 0, false
}

func (l *lexer) scanIdentifier(kind tokenKind) tokenKind {
	start := l.pos
	for l.pos < len(l.text) {
		if l.text[l.pos] != '"' {
			l.pos++
			continue
		}
		if l.peek(1) != '"' {
			empty := l.pos == start
			l.pos++
			if empty {
				return tokenError
			}
			return kind
		}
		l.pos += 2
	}
	return tokenError
}

// scanDollar reads $1, $tag$...$tag$ or a lone dollar sign.
func (l *lexer) scanDollar() tokenKind {
	if isDigit(l.peek(1)) {
		l.pos++
		for l.pos < len(l.text) && isDigit(l.text[l.pos]) {
			l.pos++
		}
		return tokenParam
	}
	end := l.pos + 1
	if end < len(l.text) && isIdentStart(l.text[end]) {
		for end < len(l.text) && isIdentCont(l.text[end]) && l.text[end] != '$' {
			end++
		}
	}
	if end >= len(l.text) || l.text[end] != '$' {
		l.pos++
		return tokenOther
	}
	tag := l.text[l.pos : end+1]
	i := strings.Index(l.text[end+1:], tag)
	if i < 0 {
		l.pos = len(l.text)
		return tokenError
	}
	l.pos = end + 1 + i + len(tag)
	l.escaped = false
	return tokenString
}

// scanNumber reads a number by the longest match, as flex does.
func (l *lexer) scanNumber() tokenKind {
	start := l.pos
	if digits, ok := radixDigits(l.text[start:]); ok {
		return l.scanRadix(start, digits)
	}
	l.skipDigits()
	kind := tokenInteger
	if l.peek(0) == '.' && l.peek(1) != '.' {
		kind = tokenFloat
		l.pos++
		if isDigit(l.peek(0)) {
			l.skipDigits()
		}
	}
	if c := l.peek(0); c == 'e' || c == 'E' {
		sign := 0
		if s := l.peek(1); s == '+' || s == '-' {
			sign = 1
		}
		switch {
		case isDigit(l.peek(1 + sign)):
			l.pos += 1 + sign
			l.skipDigits()
			kind = tokenFloat
		case sign == 1:
			l.pos += 2
			return tokenError
		}
	}
	if kind == tokenInteger && !fitsInt32(l.text[start:l.pos], 10) {
		kind = tokenFloat
	}
	return l.unlessJunk(kind)
}

// radixDigits reports whether s starts with 0x, 0o or 0b, and which digits may
// follow.
func radixDigits(s string) (base int, ok bool) {
	if len(s) < 2 || s[0] != '0' {
		return 0, false
	}
	switch s[1] {
	case 'x', 'X':
		return 16, true
	case 'o', 'O':
		return 8, true
	case 'b', 'B':
		return 2, true
	}
	return 0, false
}

func (l *lexer) scanRadix(start, base int) tokenKind {
	l.pos = start + 2
	for {
		n := 0
		if l.peek(0) == '_' {
			n = 1
		}
		if d := digitValue(l.peek(n)); d < 0 || d >= base {
			break
		}
		l.pos += n + 1
	}
	if l.pos == start+2 { // 0x without digits
		if l.peek(0) == '_' {
			l.pos++
		}
		l.skipIdentifier()
		return tokenError
	}
	kind := tokenInteger
	if !fitsInt32(l.text[start+2:l.pos], base) {
		kind = tokenFloat
	}
	return l.unlessJunk(kind)
}

func (l *lexer) skipDigits() {
	for l.pos < len(l.text) {
		switch {
		case isDigit(l.text[l.pos]):
			l.pos++
		case l.text[l.pos] == '_' && isDigit(l.peek(1)):
			l.pos += 2
		default:
			return
		}
	}
}

// unlessJunk returns kind, or tokenError if an identifier follows at once.
func (l *lexer) unlessJunk(kind tokenKind) tokenKind {
	if l.pos < len(l.text) && isIdentStart(l.text[l.pos]) {
		l.skipIdentifier()
		return tokenError
	}
	return kind
}

// fitsInt32 reports whether the digits are at most 2147483647.
func fitsInt32(digits string, base int) bool {
	n := 0
	for i := range len(digits) {
		if digits[i] == '_' {
			continue
		}
		n = n*base + digitValue(digits[i])
		if n > 1<<31-1 {
			return false
		}
	}
	return true
}

// scanOperator reads an operator: it ends before a comment, and a trailing
// plus or minus belongs to it only beside characters that SQL operators lack.
func (l *lexer) scanOperator() tokenKind {
	end := l.run(l.pos)
	l.reread += end - l.pos
	op := l.text[l.pos:end]
	for i := 1; i < len(op); i++ {
		if strings.HasPrefix(op[i:], "/*") || strings.HasPrefix(op[i:], "--") {
			op = op[:i]
			break
		}
	}
	if last := len(op) - 1; last > 0 && (op[last] == '+' || op[last] == '-') && !strings.ContainsAny(op[:last], "~!@#^&|`?%") {
		for len(op) > 1 && (op[len(op)-1] == '+' || op[len(op)-1] == '-') {
			op = op[:len(op)-1]
		}
	}
	l.pos += len(op)
	if len(op) >= nameDataLen {
		return tokenError
	}
	return tokenOperator
}

func (l *lexer) scanPunct(c byte) tokenKind {
	next := l.peek(1)
	l.pos++
	switch c {
	case ':':
		if next == ':' || next == '=' {
			l.pos++
			return tokenOperator
		}
		return tokenPunct
	case '.':
		if next == '.' {
			l.pos++
			return tokenDotDot
		}
		return tokenPunct
	case '(', ')', '[', ']', ',', ';':
		return tokenPunct
	}
	return tokenOther
}

// nameDataLen is PostgreSQL's NAMEDATALEN: names are cut to one byte less.
const nameDataLen = 64

// lineEnd returns the index of the first newline at or after i.
func lineEnd(text string, i int) int {
	for i < len(text) && !isNewline(text[i]) {
		i++
	}
	return i
}

// among reports whether v is one of the values.
func among[T comparable](v T, values ...T) bool {
	return slices.Contains(values, v)
}

func isNewline(c byte) bool { return c == '\n' || c == '\r' }

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\f' || isNewline(c) }

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func isIdentStart(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_' || c >= 0x80
}

func isIdentCont(c byte) bool { return isIdentStart(c) || isDigit(c) || c == '$' }

func isOperator(c byte) bool {
	switch c {
	case '~', '!', '@', '#', '^', '&', '|', '`', '?', '+', '-', '*', '/', '%', '<', '>', '=':
		return true
	}
	return false
}

// digitValue returns the value of a digit, or -1.
func digitValue(c byte) int {
	switch {
	case isDigit(c):
		return int(c - '0')
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}
