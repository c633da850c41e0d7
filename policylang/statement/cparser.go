package statement

import (
	"errors"
	"runtime"
	"strings"

	pg_query "github.com/pganalyze/pg_query_go/v5"
	"github.com/pganalyze/pg_query_go/v5/parser"
	"google.golang.org/protobuf/proto"
)

// cParser bounds how many texts are in the C parser at once: it has no state
// but its threads' own, but each takes a thread and memory. It is a global
// because what it guards is the process's.
//
//nolint:gochecknoglobals // guards a resource of the process
var cParser = make(chan struct{}, runtime.NumCPU())

// parseC gives a text that passed [check] to PostgreSQL's parser. size is the
// tree's, in bytes of its wire form.
func parseC(sql string) (tree *pg_query.ParseResult, size int, err *Error) {
	cParser <- struct{}{}
	wire, cErr := parser.ParseToProtobuf(sql)
	<-cParser
	if cErr != nil {
		return nil, 0, syntaxError(sql, cErr)
	}
	tree = new(pg_query.ParseResult)
	if err := proto.Unmarshal(wire, tree); err != nil {
		return nil, 0, &Error{Kind: TooDeep, Message: "the text nests too deep"}
	}
	return tree, len(wire), nil
}

// syntaxError turns the parser's error into ours. PostgreSQL's message quotes
// the text from where it went wrong, which may be a constant: that part is
// left out unless it is a word or an operator.
func syntaxError(sql string, err error) *Error {
	var c *parser.Error
	if !errors.As(err, &c) {
		return &Error{Kind: Syntax, Message: "syntax error"}
	}
	out := &Error{Kind: Syntax, Message: "syntax error", Position: max(c.Cursorpos, 0)}
	if message, _, found := strings.Cut(c.Message, " at or near "); found {
		out.Message = message
		if near := tokenAt(sql, c.Cursorpos); near != "" {
			out.Message += ` at or near "` + near + `"`
		}
	} else if message, end := strings.CutSuffix(c.Message, " at end of input"); end || !strings.Contains(message, `"`) {
		out.Message = c.Message
	}
	if strings.HasPrefix(c.Message, "memory exhausted") { // Bison's stack, which is on the heap
		return &Error{Kind: TooDeep, Message: "the text nests too deep", Position: out.Position}
	}
	return out
}

// tokenAt returns the word, operator or punctuation at that position, in
// characters from 1, or "" if there is a constant or nothing.
func tokenAt(sql string, position int) string {
	offset := byteOffset(sql, position)
	l := lexer{text: sql}
	for {
		tok := l.next()
		switch {
		case tok.start < offset && tok.kind != tokenEnd:
		case tok.start == offset && among(tok.kind, tokenWord, tokenOperator, tokenPunct, tokenParam):
			return sql[tok.start:tok.end]
		default:
			return ""
		}
	}
}
