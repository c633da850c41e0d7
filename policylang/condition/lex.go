package condition

import "strings"

// token is a lexical token of an expression, as far as positions need it.
type token struct {
	offset int
	text   string
}

func (t token) opens() bool  { return t.text == "(" || t.text == "[" || t.text == "{" }
func (t token) closes() bool { return t.text == ")" || t.text == "]" || t.text == "}" }

func (t token) isWord() bool { return isWordByte(t.text[0]) }

func (t token) end() int { return t.offset + len(t.text) }

// tokens calls yield for each token of an expression until it returns false.
// White space and comments are none.
func tokens(expr string, yield func(token) bool) {
	for i := 0; i < len(expr); {
		n := tokenLength(expr[i:])
		text := expr[i : i+n]
		if !strings.HasPrefix(text, "//") && strings.TrimSpace(text) != "" && !yield(token{i, text}) {
			return
		}
		i += n
	}
}

// tokenLength returns the length of the token, space or comment that s starts
// with.
func tokenLength(s string) int {
	switch c := s[0]; {
	case strings.HasPrefix(s, "//"):
		if end := strings.IndexByte(s, '\n'); end >= 0 {
			return end
		}
		return len(s)
	case c == '"' || c == '\'':
		return quotedLength(s, false)
	case isWordByte(c):
		n := wordLength(s)
		if n < len(s) && (s[n] == '"' || s[n] == '\'') && isStringPrefix(s[:n]) {
			return n + quotedLength(s[n:], strings.ContainsAny(s[:n], "rR"))
		}
		return n
	case len(s) > 1 && isLongOperator(s[:2]):
		return 2
	}
	return 1
}

func isLongOperator(s string) bool {
	switch s {
	case "&&", "||", "==", "!=", "<=", ">=":
		return true
	}
	return false
}

// quotedLength returns the length of a string literal, single or triple quoted.
func quotedLength(s string, raw bool) int {
	quote := s[:1]
	if len(s) >= 3 && s[1] == s[0] && s[2] == s[0] {
		quote = s[:3]
	}
	for i := len(quote); i < len(s); i++ {
		switch {
		case s[i] == '\\' && !raw:
			i++
		case strings.HasPrefix(s[i:], quote):
			return i + len(quote)
		}
	}
	return len(s)
}

func isStringPrefix(word string) bool {
	switch strings.ToLower(word) {
	case "r", "b", "br", "rb":
		return true
	}
	return false
}

func isWordByte(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= 0x80
}

func wordLength(s string) int {
	n := 0
	for n < len(s) && isWordByte(s[n]) {
		n++
	}
	return n
}
