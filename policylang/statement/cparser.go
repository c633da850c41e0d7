package statement

import (
	"errors"
	"runtime"
	"strings"
	"unsafe"

	"github.com/pganalyze/pg_query_go/v5/parser"

	"github.com/posternhq/postern/policylang/internal/ast"
	_ "github.com/posternhq/postern/policylang/internal/protopack" // writes the parser's trees
)

// cParser bounds how many texts are in the C parser at once: it has no state
// but its threads' own, but each takes a thread and memory. It is a global
// because what it guards is the process's.
//
//nolint:gochecknoglobals // guards a resource of the process
var cParser = make(chan struct{}, runtime.NumCPU())

// parseC gives a text that passed [check] to PostgreSQL's parser. size is the
// tree's, in bytes of its wire form.
func parseC(sql string) (statements []ast.Raw, size int, err *Error) {
	cParser <- struct{}{}
	wire, cErr := parser.ParseToProtobuf(sql)
	<-cParser
	if cErr != nil {
		return nil, 0, syntaxError(sql, cErr)
	}
	// Nobody else has wire: what is cut out of the text of it needs no copy.
	statements, wireErr := ast.Statements(unsafe.String(unsafe.SliceData(wire), len(wire)))
	if wireErr != nil {
		return nil, 0, treeError(wireErr)
	}
	return statements, len(wire), nil
}

// decode makes the syntax tree of a statement.
func decode(raw ast.Raw) (*ast.Node, *Error) {
	node, err := ast.Decode(raw.Wire)
	if err != nil {
		return nil, treeError(err)
	}
	return node, nil
}

// parseNodes is parseC with the syntax trees made.
func parseNodes(sql string) ([]*ast.Node, *Error) {
	parsed, _, err := parseC(sql)
	if err != nil {
		return nil, err
	}
	nodes := make([]*ast.Node, len(parsed))
	for i, raw := range parsed {
		if nodes[i], err = decode(raw); err != nil {
			return nil, err
		}
	}
	return nodes, nil
}

// treeError says that the C parser's answer cannot be read.
func treeError(err error) *Error {
	if errors.Is(err, ast.ErrTooDeep) {
		return &Error{Kind: TooDeep, Message: "the text nests too deep"}
	}
	return &Error{Kind: Syntax, Message: "the parser's answer cannot be read"}
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
