package statement

import (
	"strings"
)

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
