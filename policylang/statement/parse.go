package statement

import (
	"sync"
	"sync/atomic"

	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/policylang/internal/ast"
)

// Tree is a text and the statements in it. It is immutable.
type Tree struct {
	SQL        string
	Statements []Statement // none for an empty text

	derived atomic.Value
}

// Derived returns what the tree's user makes of it, which is kept with the tree:
// it is made once, or seldom twice, and must depend on the tree alone. A tree has
// one user, whose values are all of one type.
func (t *Tree) Derived(derive func(*Tree) any) any {
	if d := t.derived.Load(); d != nil {
		return d
	}
	t.derived.CompareAndSwap(nil, derive(t))
	return t.derived.Load()
}

// Statement is one statement of a text, or one that is nested in another.
type Statement struct {
	Text    string // exactly as written, without surrounding white space
	Offset  int    // of Text in the SQL of the tree, in bytes
	Facts   *policylang.Facts
	Session SessionEffect
	// Assigns names the parameters that running the statement may set, in
	// lower case and sorted: by SET, or from inside by set_config or by a body
	// of PL/pgSQL. "*" stands for any. One that begins with "=" is named by a
	// column that WHERE holds to that text: this is sure only where the operator
	// is PostgreSQL's own, so if pg_catalog comes first in the search path.
	Assigns []string

	root *root
	free bool // no fact but Text depends on a constant that normal forms leave out
}

// root is the syntax tree of a statement, which is made when it is asked for:
// most are not, and what waits for it is one string, which costs the garbage
// collector nothing.
type root struct {
	once sync.Once
	node *ast.Node
	wire string // of the tree; empty if the text was not parsed
	text string
	lim  Limits
}

// Node returns the statement's syntax tree: a node that holds the statement
// itself, as *SelectStmt. It is nil for the zero Statement, and if the text
// turns out not to be read after all, in which case the statement must be
// refused. Callers must not change it. Offsets in it count from the start of
// the tree's SQL, unless the tree came from a [Cache]: then they may count from
// the start of Text.
func (s *Statement) Node() *ast.Node {
	if s.root == nil {
		return nil
	}
	s.root.once.Do(s.root.grow)
	return s.root.node
}

func (r *root) grow() {
	switch {
	case r.node != nil:
	case r.wire != "":
		if r.node = takeLast(r); r.node == nil {
			r.node, _ = ast.Decode(r.wire) // which was decoded once before
		}
	case check(r.text, r.lim) == nil:
		if nodes, err := parseNodes(r.text); err == nil && len(nodes) == 1 {
			r.node = nodes[0]
		}
	}
}

// last is the tree that was read last: who asks for a tree, most often asks as
// soon as its text was read.
var last atomic.Pointer[lastTree]

type lastTree struct {
	root *root
	node *ast.Node
}

// maxLast bounds the wire form of the tree that is kept as the last, in bytes.
const maxLast = 64 << 10

func keepLast(r *root, node *ast.Node) {
	if len(r.wire) <= maxLast {
		last.Store(&lastTree{root: r, node: node})
	}
}

// takeLast returns the tree of a root if it is the last, nil otherwise.
func takeLast(r *root) *ast.Node {
	if l := last.Load(); l != nil && l.root == r {
		last.CompareAndSwap(l, nil)
		return l.node
	}
	return nil
}

// Parse reads a text of any number of statements. The error is nil or an
// *[Error].
func Parse(sql string, l Limits) (*Tree, error) {
	l = l.withDefaults()
	if err := checkText(sql, l); err != nil {
		return nil, err
	}
	tree, _, err := parse(sql, l)
	if err != nil {
		return nil, err
	}
	return tree, nil
}

// parse reads a text that passed [checkText]. It also returns the size of the
// tree in bytes of its wire form.
func parse(sql string, l Limits) (*Tree, int, *Error) {
	if err := checkNesting(sql, l); err != nil {
		return nil, 0, err
	}
	parsed, size, err := parseC(sql)
	if err != nil {
		return nil, 0, err
	}
	if len(parsed) > l.MaxStatements {
		return nil, 0, &Error{Kind: TooMany, Message: "the text has too many statements"}
	}
	tree := &Tree{SQL: sql, Statements: make([]Statement, len(parsed))}
	for i, raw := range parsed {
		node, err := decode(raw)
		if err != nil {
			return nil, 0, err
		}
		text, offset := rawText(sql, raw)
		tree.Statements[i] = read(node, text, offset, l)
		*tree.Statements[i].root = root{wire: raw.Wire, text: text, lim: l}
		keepLast(tree.Statements[i].root, node)
	}
	return tree, size, nil
}

// rawText returns the text of a statement and its offset.
func rawText(sql string, raw ast.Raw) (text string, offset int) {
	end := len(sql)
	if raw.Length > 0 {
		end = raw.Location + raw.Length
	}
	return trim(sql, raw.Location, end)
}

// trim returns sql[start:end] without surrounding white space, and its offset.
func trim(sql string, start, end int) (text string, offset int) {
	for start < end && isSpace(sql[start]) {
		start++
	}
	for end > start && isSpace(sql[end-1]) {
		end--
	}
	return sql[start:end], start
}
