package scenario

import (
	"cmp"
	"slices"
	"strings"
)

// token is a piece of SQL text, as far as cutting texts needs to know.
type token struct {
	text  string // a word in lower case, or the character; empty for constants and quoted names
	start int
	end   int
	depth int // brackets around it
}

// tokens splits SQL that the parser has accepted. Comments and white space are
// left out.
func tokens(sql string) []token {
	var out []token
	depth := 0
	for i := 0; i < len(sql); {
		start := i
		switch c := sql[i]; {
		case strings.HasPrefix(sql[i:], "--"):
			i = indexFrom(sql, i, "\n")
			continue
		case strings.HasPrefix(sql[i:], "/*"):
			i = commentEnd(sql, i)
			continue
		case c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' || c == '\v':
			i++
			continue
		case c == '\'':
			i = quoteEnd(sql, i, escapes(sql, i))
			out = append(out, token{"", start, i, depth})
		case c == '"':
			i = quoteEnd(sql, i, false)
			out = append(out, token{"", start, i, depth})
		case c == '$' && dollarTag(sql[i:]) != "":
			tag := dollarTag(sql[i:])
			i = indexFrom(sql, i+len(tag), tag)
			out = append(out, token{"", start, i, depth})
		case isWord(c):
			for i < len(sql) && (isWord(sql[i]) || sql[i] == '$') {
				i++
			}
			out = append(out, token{strings.ToLower(sql[start:i]), start, i, depth})
		default:
			i++
			if c == ')' || c == ']' {
				depth--
			}
			out = append(out, token{string(c), start, i, depth})
			if c == '(' || c == '[' {
				depth++
			}
		}
	}
	return out
}

func isWord(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '_' || c >= 0x80
}

// indexFrom returns the end of the first find at or behind i, or of the text.
func indexFrom(sql string, i int, find string) int {
	if n := strings.Index(sql[i:], find); n >= 0 {
		return i + n + len(find)
	}
	return len(sql)
}

// commentEnd returns the end of a comment, which may have others in it.
func commentEnd(sql string, i int) int {
	depth := 0
	for i < len(sql) {
		switch {
		case strings.HasPrefix(sql[i:], "/*"):
			depth++
			i += 2
		case strings.HasPrefix(sql[i:], "*/"):
			depth--
			i += 2
			if depth == 0 {
				return i
			}
		default:
			i++
		}
	}
	return i
}

// escapes reports whether the quote at i starts a constant of the form E'...'.
func escapes(sql string, i int) bool {
	return i > 0 && (sql[i-1] == 'e' || sql[i-1] == 'E') && (i == 1 || !isWord(sql[i-2]))
}

// quoteEnd returns the end of what the quote at i starts.
func quoteEnd(sql string, i int, backslashes bool) int {
	quote := sql[i]
	for i++; i < len(sql); i++ {
		switch {
		case backslashes && sql[i] == '\\':
			i++
		case sql[i] != quote:
		case i+1 < len(sql) && sql[i+1] == quote:
			i++
		default:
			return i + 1
		}
	}
	return len(sql)
}

// dollarTag returns the tag that starts a constant in dollar quotes, or "".
func dollarTag(sql string) string {
	for i := 1; i < len(sql); i++ {
		switch c := sql[i]; {
		case c == '$':
			return sql[:i+1]
		case !isWord(c) || i == 1 && '0' <= c && c <= '9':
			return ""
		}
	}
	return ""
}

// insertion puts text into a statement's text.
type insertion struct {
	at   int
	text string
}

// splice returns sql[start:end] with those insertions that lie in it, and
// without white space around it.
func splice(sql string, start, end int, insertions []insertion) string {
	slices.SortFunc(insertions, func(a, b insertion) int { return cmp.Compare(a.at, b.at) })
	var b strings.Builder
	from := start
	for i, ins := range insertions {
		if ins.at < start || ins.at >= end || i > 0 && ins == insertions[i-1] {
			continue
		}
		b.WriteString(sql[from:ins.at] + ins.text)
		from = ins.at
	}
	b.WriteString(sql[from:end])
	return strings.TrimSpace(b.String())
}

// find returns the index of the first token at or behind from with that text
// and depth, or -1.
func find(ts []token, from, depth int, texts ...string) int {
	for i := max(from, 0); i < len(ts); i++ {
		if ts[i].depth == depth && slices.Contains(texts, ts[i].text) && ts[i].text != "" {
			return i
		}
	}
	return -1
}

// brackets returns the span inside the brackets that open at token i.
func brackets(ts []token, i int) (start, end int, ok bool) {
	if i < 0 || i >= len(ts) || ts[i].text != "(" {
		return 0, 0, false
	}
	closing := find(ts, i+1, ts[i].depth, ")")
	if closing < 0 {
		return 0, 0, false
	}
	return ts[i].end, ts[closing].start, true
}

// quoteIdentifier writes a name so that SQL reads it as it is.
func quoteIdentifier(name string) string {
	return `"` + strings.ReplaceAll(name, `"`, `""`) + `"`
}
