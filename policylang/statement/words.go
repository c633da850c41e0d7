package statement

// word is a keyword that the scanner pays attention to.
type word uint8

const (
	wordNone    word = iota
	wordAnd          // ends a chain of operators, or belongs to a BETWEEN
	wordAs           // a name follows
	wordAtomic       // BEGIN ATOMIC … END
	wordBegin        // BEGIN ATOMIC … END
	wordBetween      // has an AND of its own
	wordCase         // closed by END
	wordChained      // an operator that is spelled with letters
	wordEnd          // closes CASE and BEGIN ATOMIC
	wordGlobal       // deprecated in CREATE GLOBAL TEMPORARY TABLE
	wordJoin         // JOIN, UNION, INTERSECT, EXCEPT
	wordLimit        // LIMIT, FIRST, NEXT: a number of rows may follow
	wordOr           // ends a chain of operators
)

// wordOf returns the meaning of a word, given in any case. Only ASCII letters
// have case here, as in PostgreSQL's scanner.
func wordOf(s string) word {
	if len(s) < 2 || len(s) > 9 {
		return wordNone
	}
	var buf [9]byte
	for i := range len(s) {
		buf[i] = lower(s[i])
	}
	switch string(buf[:len(s)]) {
	case "and":
		return wordAnd
	case "as":
		return wordAs
	case "atomic":
		return wordAtomic
	case "begin":
		return wordBegin
	case "between":
		return wordBetween
	case "case":
		return wordCase
	case "not", "is", "isnull", "notnull", "in", "like", "ilike", "similar", "collate", "at", "operator", "overlaps":
		return wordChained
	case "end":
		return wordEnd
	case "global":
		return wordGlobal
	case "join", "union", "intersect", "except":
		return wordJoin
	case "limit", "first", "next":
		return wordLimit
	case "or":
		return wordOr
	}
	return wordNone
}

// lower returns the byte in lower case if it is an ASCII letter.
func lower(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		return c + ('a' - 'A')
	}
	return c
}
