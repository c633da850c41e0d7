package statement

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Limits bounds what is given to the parser. The zero Limits has the defaults.
type Limits struct {
	MaxBytes      int // of a text; 1 MiB unless set
	MaxDepth      int // of nesting; 3,000 unless set, and never more
	MaxStatements int // in one text; 100 unless set
}

const (
	defaultMaxBytes      = 1 << 20
	defaultMaxDepth      = 3000
	defaultMaxStatements = 100

	// maxDeprecated bounds a deprecated word (GLOBAL TEMPORARY) for each of
	// which the C parser formats a warning in time linear in the text.
	maxDeprecated = 100

	// maxReread bounds what the C scanner reads more than once.
	maxReread = 16 << 20
)

func (l Limits) withDefaults() Limits {
	if l.MaxBytes <= 0 {
		l.MaxBytes = defaultMaxBytes
	}
	if l.MaxDepth <= 0 || l.MaxDepth > defaultMaxDepth {
		l.MaxDepth = defaultMaxDepth
	}
	if l.MaxStatements <= 0 {
		l.MaxStatements = defaultMaxStatements
	}
	return l
}

// check refuses what must never reach the C parser, whose stack overflow no
// program survives. It takes time linear in at most l.MaxBytes.
func check(sql string, l Limits) *Error {
	if err := checkText(sql, l); err != nil {
		return err
	}
	return checkNesting(sql, l)
}

// checkText refuses what PostgreSQL would not read as text.
func checkText(sql string, l Limits) *Error {
	if len(sql) > l.MaxBytes {
		return &Error{Kind: TooLong, Message: fmt.Sprintf("the text has %d bytes, at most %d are accepted", len(sql), l.MaxBytes)}
	}
	if i := strings.IndexByte(sql, 0); i >= 0 {
		return &Error{Kind: NulByte, Message: "the text holds a zero byte"}
	}
	if !utf8.ValidString(sql) {
		return &Error{Kind: NotUTF8, Message: "the text is not valid UTF-8", Position: firstInvalid(sql)}
	}
	return nil
}

// firstInvalid returns the position of the first invalid byte.
func firstInvalid(sql string) int {
	position := 1
	for i, r := range sql {
		if r == utf8.RuneError {
			if _, size := utf8.DecodeRuneInString(sql[i:]); size == 1 {
				return position
			}
		}
		position++
	}
	return 0
}

// characters returns the position, in characters from 1, of a byte offset.
func characters(sql string, offset int) int {
	return utf8.RuneCountInString(sql[:min(offset, len(sql))]) + 1
}

// byteOffset is the inverse of [characters].
func byteOffset(sql string, position int) int {
	for i := range sql {
		if position--; position <= 0 {
			return i
		}
	}
	return len(sql)
}

// checkNesting bounds the height of the syntax tree from the tokens alone.
//
// The parser's tree gets deeper with each bracket (CASE … END and BEGIN ATOMIC
// … END are brackets too), with each operator, JOIN and UNION that is chained
// to the one before it, and by nothing else that is not bounded by a constant.
// A comma, AND and OR end a chain of operators, since the grammar makes flat
// lists of what they separate; the AND of a BETWEEN does not, and nothing but
// the end of the statement ends a chain of JOIN or UNION. The height of a
// bracket is one more than its longest chain and the highest bracket in that
// chain: a bound that is never too low, and too high only for texts that
// nobody writes.
func checkNesting(sql string, limits Limits) *Error {
	var (
		n          nesting
		lex        = lexer{text: sql}
		statements = 0
		deprecated = 0
		empty      = true  // since the last top-level semicolon
		label      = false // the next word is a name, whatever keyword it looks like
	)
	for {
		tok := lex.next()
		isLabel := label
		label = false
		switch {
		case tok.kind == tokenEnd:
			if lex.reread <= maxReread {
				return nil
			}
		case tok.kind == tokenPunct:
			n.punct(sql[tok.start])
			label = sql[tok.start] == '.'
		case tok.kind == tokenOperator:
			n.inner.chain++
		case tok.kind == tokenWord && !isLabel:
			w := wordOf(sql[tok.start:tok.end])
			label = w == wordAs
			if w == wordBegin && lex.followedBy(wordAtomic) {
				w = wordCase // closed by END as well
			}
			if w == wordGlobal {
				deprecated++
			}
			n.word(w)
		}
		if n.height() > limits.MaxDepth {
			return &Error{Kind: TooDeep, Message: fmt.Sprintf("the text nests deeper than %d levels", limits.MaxDepth), Position: characters(sql, tok.start)}
		}
		if tok.kind == tokenPunct && sql[tok.start] == ';' && len(n.outer) == 0 {
			empty = true
		} else if empty {
			empty = false
			statements++
		}
		if statements > limits.MaxStatements {
			return &Error{Kind: TooMany, Message: fmt.Sprintf("the text has more than %d statements", limits.MaxStatements), Position: characters(sql, tok.start)}
		}
		if lex.reread > maxReread {
			return &Error{Kind: TooMany, Message: "the text has too many comments or operators in a row", Position: characters(sql, tok.start)}
		}
		if deprecated > maxDeprecated {
			return &Error{Kind: TooMany, Message: fmt.Sprintf("the text says GLOBAL more than %d times", maxDeprecated), Position: characters(sql, tok.start)}
		}
	}
}

// nesting is the open brackets of a text.
type nesting struct {
	inner level   // the innermost, or the text itself
	outer []level // those around it, outermost first
	below int     // what they add to the height
}

// level is one open bracket. Heights are of trees inside of it.
type level struct {
	bracket  byte // '(' '[' or 'e' for what END closes; 0 for the text
	chain    int  // operators since the last end of a chain
	child    int  // the highest bracket closed in the current chain
	highest  int  // of the chains that ended in the current statement
	wide     int  // JOIN and UNION in the current statement
	done     int  // the highest statement that ended
	betweens int  // BETWEENs that wait for their AND
}

func (l *level) height() int {
	return 1 + max(l.done, l.wide+max(l.highest, l.chain+l.child))
}

func (l *level) endChain() {
	l.highest = max(l.highest, l.chain+l.child)
	l.chain, l.child = 0, 0
}

func (l *level) endStatement() {
	l.endChain()
	l.done = max(l.done, l.wide+l.highest)
	l.highest, l.wide, l.betweens = 0, 0, 0
}

// around is what the level adds to the height of a bracket in its current
// chain.
func (l *level) around() int { return 1 + l.wide + l.chain }

// height bounds the tree's height as far as the text was read.
func (n *nesting) height() int { return n.below + n.inner.height() }

func (n *nesting) open(bracket byte) {
	n.below += n.inner.around()
	n.outer = append(n.outer, n.inner)
	n.inner = level{bracket: bracket}
}

func (n *nesting) close() {
	height := n.inner.height()
	last := len(n.outer) - 1
	n.inner, n.outer = n.outer[last], n.outer[:last]
	n.below -= n.inner.around()
	n.inner.child = max(n.inner.child, height)
}

// closeBracket closes the innermost bracket of that kind and what END has left
// open inside of it. Without one the text is not SQL and nothing is closed.
func (n *nesting) closeBracket(bracket byte) {
	open := n.inner.bracket
	around := len(n.outer)
	for open == 'e' {
		around--
		open = n.outer[around].bracket
	}
	if open != bracket {
		return
	}
	for len(n.outer) >= around {
		n.close()
	}
}

func (n *nesting) punct(c byte) {
	switch c {
	case '(', '[':
		n.open(c)
	case ')':
		n.closeBracket('(')
	case ']':
		n.closeBracket('[')
	case ',':
		n.inner.endChain()
	case ';':
		n.inner.endStatement()
	}
}

func (n *nesting) word(w word) {
	top := &n.inner
	switch w {
	case wordCase:
		n.open('e')
	case wordEnd:
		if top.bracket == 'e' {
			n.close()
		}
	case wordAnd:
		if top.betweens > 0 {
			top.betweens--
			top.chain++
		} else {
			top.endChain()
		}
	case wordOr:
		top.endChain()
	case wordBetween:
		top.betweens++
		top.chain++
	case wordJoin:
		top.wide++
	case wordChained:
		top.chain++
	case wordNone, wordAs, wordAtomic, wordBegin, wordGlobal, wordLimit:
	}
}
