package statement

import (
	"sync"

	"github.com/posternhq/postern/policylang"
)

const (
	defaultEntries = 8192
	bytesPerEntry  = 16 << 10 // on average; larger trees push others out
	treeFactor     = 12       // memory of a tree by the size of its wire form, about, once somebody asks for it
	statementBytes = 2 << 10  // memory of a statement beside its tree, about

	// largeText is the size from which on texts are read one at a time: the
	// tree of a text takes several hundred times its size while it is made.
	largeText = 64 << 10
)

// Cache reads texts and remembers them twice. By exact text: the same text
// gives the same *Tree and the same *Facts while it is remembered. And by
// normal form: a text that differs from one seen before in constants alone gets
// a copy of its facts without being parsed, unless these depend on a constant.
// Such a copy names its Origin, and its tree is made only if somebody asks for
// its Node.
//
// A Cache is safe for concurrent use, and a hit takes no lock. Large texts are
// read one at a time. It holds a fixed
// number of texts, and memory in proportion.
type Cache struct {
	limits Limits
	exact  *hashTable[*Tree]
	normal *hashTable[*template]
	keys   sync.Pool // of *[]byte
	large  sync.Mutex
}

// template is what texts of one normal form have in common.
type template struct {
	facts   *policylang.Facts
	assigns []string
}

// NewCache returns a cache of about that many texts; 8,192 if entries is 0.
func NewCache(entries int, l Limits) *Cache {
	if entries <= 0 {
		entries = defaultEntries
	}
	return &Cache{
		limits: l.withDefaults(),
		exact:  newHashTable[*Tree](entries, int64(entries)*bytesPerEntry),
		normal: newHashTable[*template](entries, int64(entries)*bytesPerEntry/4),
		keys:   sync.Pool{New: func() any { return new([]byte) }},
	}
}

// Parse is like the function [Parse] with the cache's limits.
func (c *Cache) Parse(sql string) (*Tree, error) {
	if tree, ok := c.exact.get(sql); ok {
		return tree, nil
	}
	if err := checkText(sql, c.limits); err != nil {
		return nil, err
	}
	key, ok := c.keys.Get().(*[]byte)
	if !ok {
		key = new([]byte)
	}
	defer c.keys.Put(key)
	form, text, normal := normalForm((*key)[:0], sql)
	*key = form
	if normal {
		if t, ok := c.normal.getBytes(form); ok {
			tree := t.tree(sql, text, c.limits)
			return c.exact.put(sql, tree, int64(len(sql))+statementBytes), nil
		}
	}
	if len(sql) >= largeText {
		c.large.Lock()
		defer c.large.Unlock()
	}
	tree, size, err := parse(sql, c.limits)
	if err != nil {
		return nil, err
	}
	if normal && reusable(tree) { // its names are parts of the text and of the wire form
		c.normal.put(string(form), &template{tree.Statements[0].Facts, tree.Statements[0].Assigns}, int64(len(form)+len(sql)+size)+statementBytes)
	}
	return c.exact.put(sql, tree, int64(len(sql)+size*treeFactor)+statementBytes*int64(len(tree.Statements))), nil
}

// reusable reports whether the tree's facts hold for every text of its normal
// form.
func reusable(tree *Tree) bool {
	if len(tree.Statements) != 1 {
		return false
	}
	st := &tree.Statements[0]
	return st.free && st.Session.Kind == NoEffect
}

// tree returns the tree of a text of the template's normal form.
func (t *template) tree(sql, text string, l Limits) *Tree {
	copied := &struct {
		tree  Tree
		one   [1]Statement
		facts policylang.Facts
		root  root
	}{facts: *t.facts}
	copied.facts.Text = text
	copied.facts.Origin = t.facts
	copied.root = root{text: text, lim: l}
	_, offset := trim(sql, 0, len(sql))
	copied.one[0] = Statement{Text: text, Offset: offset, Facts: &copied.facts, Assigns: t.assigns, root: &copied.root}
	copied.tree = Tree{SQL: sql, Statements: copied.one[:]}
	return &copied.tree
}
