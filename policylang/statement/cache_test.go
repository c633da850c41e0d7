package statement

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	pg_query "github.com/pganalyze/pg_query_go/v5"

	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/policylang/internal/ast"
)

func mustParse(t *testing.T, c *Cache, sql string) *Statement {
	t.Helper()
	tree, err := c.Parse(sql)
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return &tree.Statements[0]
}

func TestCacheGivesTheSamePointers(t *testing.T) {
	c := NewCache(0, Limits{})
	for _, sql := range []string{"select 1", "delete from t where id = 1", "set x.y = 1", "select * from t limit 5", "select 1; select 2"} {
		a, err := c.Parse(sql)
		if err != nil {
			t.Fatal(err)
		}
		b, err := c.Parse(strings.Clone(sql))
		if err != nil {
			t.Fatal(err)
		}
		if a != b || a.Statements[0].Facts != b.Statements[0].Facts {
			t.Errorf("%s: parsed twice", sql)
		}
	}
}

func TestCacheByNormalForm(t *testing.T) {
	tests := []struct {
		name, first, second string
		reused              bool
	}{
		{"numbers", "select a from t where id = 1", "select a from t where id = 2", true},
		{"strings", "select a from t where id = 'a'", "select a from t where id = $$b c$$", true},
		{"comments and space", "select a from t where id = 1", "select /* hi */ a\n from  t where id = 2 -- bye", true},
		{"semicolon", "select a from t where id = 1", "select a from t where id = 2 ;", true},
		{"insert", "insert into t values (1, 'a', 2.5)", "insert into t values (9, 'b', 7.5)", true},
		{"update", "update t set a = a + 1 where id = 5", "update t set a = a + 2 where id = 6", true},
		{"same limit", "select a from t where id = 1 limit 5", "select a from t where id = 2 limit 5", true},
		{"other limit", "select a from t where id = 1 limit 5", "select a from t where id = 1 limit 6", false},
		{"limit in brackets", "select a from t limit (5)", "select a from t limit (6)", false},
		{"limit that is cast", "select a from t limit 5::bigint", "select a from t limit 6::bigint", false},
		{"fetch first", "select a from t fetch first 5 rows only", "select a from t fetch first 6 rows only", false},
		{"case", "select a from t where id = 1", "SELECT a FROM t WHERE id = 2", false},
		{"integer and number", "select a from t where id = 1", "select a from t where id = 1.5", false},
		{"integer and large integer", "select a from t where id = 1", "select a from t where id = 99999999999", false},
		{"string and number", "select a from t where id = 1", "select a from t where id = '1'", false},
		{"parameter", "select a from t where id = $1", "select a from t where id = $2", false},
		{"escape", "select a from t where id = E'a'", `select a from t where id = E'\x41'`, false},
		{"unicode escape", "select a from t where id = U&'a'", "select a from t where id = U&'b'", false},
		{"tautology", "delete from t where 1 = 2", "delete from t where 1 = 1", false},
		{"pattern", "delete from t where a like 'x'", "delete from t where a like '%'", false},
		{"regclass", "select 'a'::regclass", "select 'b'::regclass", false},
		{"sequence", "select nextval('a')", "select nextval('b')", false},
		{"settings", "select set_config('a.b', 'x', true)", "select set_config('role', 'x', true)", false},
		{"sql in a constant", "select query_to_xml('select 1', true, true, '')", "select query_to_xml('delete from t', true, true, '')", false},
		{"set", "set work_mem = 1", "set work_mem = 2", false},
		{"do", "do 'begin end'", "do 'begin delete from t; end'", false},
		{"explain", "explain select 1", "explain select 2", false},
		{"prepare", "prepare p as select 1", "prepare p as select 2", false},
		{"several statements", "select 1; select 2", "select 1; select 3", false},
		{"leading semicolon", "; select 1", "; select 2", false},
		{"quoted name", `select "a" from t where id = 1`, `select "b" from t where id = 1`, false},
		{"operator that looks like a constant", "select a ?s from t", "select a 's' from t", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := NewCache(0, Limits{})
			if _, err := c.Parse(tt.first); err != nil {
				var e *Error
				if !errors.As(err, &e) {
					t.Fatal(err)
				}
			}
			tree, err := c.Parse(tt.second)
			if err != nil {
				return // the exact text is what counts
			}
			if reused := tree.Statements[0].Facts.Origin != nil; reused != tt.reused {
				t.Errorf("reused is %t, want %t", reused, tt.reused)
			}
			agree(t, tree)
		})
	}
}

// agree checks that a cached tree says what parsing its text says.
func agree(t *testing.T, tree *Tree) {
	t.Helper()
	want, err := Parse(tree.SQL, Limits{})
	if err != nil {
		t.Fatalf("%q: %v", tree.SQL, err)
	}
	if len(want.Statements) != len(tree.Statements) {
		t.Fatalf("%q: %d statements, want %d", tree.SQL, len(tree.Statements), len(want.Statements))
	}
	for i := range want.Statements {
		a, b := &want.Statements[i], &tree.Statements[i]
		if diff := cmp.Diff(a.Facts, b.Facts, cmpopts.IgnoreFields(policylang.Facts{}, "Origin")); diff != "" {
			t.Fatalf("%q: (-parsed +cached)\n%s", tree.SQL, diff)
		}
		if a.Text != b.Text || a.Offset != b.Offset || !cmp.Equal(a.Assigns, b.Assigns) || a.Session.Kind != b.Session.Kind {
			t.Fatalf("%q: %q at %d, want %q at %d", tree.SQL, b.Text, b.Offset, a.Text, a.Offset)
		}
		if fmt.Sprintf("%T", ast.Unwrap(a.Node())) != fmt.Sprintf("%T", ast.Unwrap(b.Node())) {
			t.Fatalf("%q: %T, want %T", tree.SQL, ast.Unwrap(b.Node()), ast.Unwrap(a.Node()))
		}
	}
}

func TestCachedNodeIsTheTextsOwn(t *testing.T) {
	c := NewCache(0, Limits{})
	mustParse(t, c, "select 'one'")
	st := mustParse(t, c, "select 'two'")
	if st.Facts.Origin == nil {
		t.Fatal("not reused")
	}
	s, ok := ast.Unwrap(st.Node()).(*ast.SelectStmt)
	if !ok {
		t.Fatalf("%T", ast.Unwrap(st.Node()))
	}
	target, ok := ast.Unwrap(s.GetTargetList()[0]).(*ast.ResTarget)
	if !ok {
		t.Fatalf("%T", ast.Unwrap(s.GetTargetList()[0]))
	}
	if k := constantOf(target.GetVal()); k.GetSval().GetSval() != "two" {
		t.Errorf("the tree holds %q", k.GetSval().GetSval())
	}
}

// TestCacheRefuses has errors for texts of which a harmless relative is cached.
func TestCacheRefuses(t *testing.T) {
	c := NewCache(0, Limits{MaxBytes: 64})
	mustParse(t, c, "select 'a'")
	for _, tt := range []struct {
		sql  string
		kind ErrorKind
	}{
		{"select '\xff'", NotUTF8}, {"select '\x00'", NulByte}, {"select '" + strings.Repeat("a", 64) + "'", TooLong}, {"select '", Syntax}, {`select E'\uD800'`, Syntax},
	} {
		for range 2 {
			_, err := c.Parse(tt.sql)
			var e *Error
			if !errors.As(err, &e) || e.Kind != tt.kind {
				t.Errorf("%q: %v, want %s", tt.sql, err, tt.kind)
			}
		}
	}
}

// TestCacheIsBounded fills a small cache with texts of many sizes.
func TestCacheIsBounded(t *testing.T) {
	c := NewCache(64, Limits{})
	for i := range 2000 {
		mustParse(t, c, fmt.Sprintf("select c%d, '%s' from t", i, strings.Repeat("x", i)))
	}
	if n := held(c.exact); n > 64 || n == 0 {
		t.Errorf("%d texts held", n)
	}
	if n := held(c.normal); n > 64 || n == 0 {
		t.Errorf("%d normal forms held", n)
	}
	if b := c.exact.bytes.Load(); b > c.exact.maxBytes || b <= 0 {
		t.Errorf("%d bytes accounted for, at most %d allowed", b, c.exact.maxBytes)
	}
	big := "select '" + strings.Repeat("x", 1<<19) + "'"
	mustParse(t, c, big)
	if _, ok := c.exact.get(big); ok {
		t.Error("a text as large as the cache is held")
	}
}

func held[V any](table *hashTable[V]) int {
	n := 0
	for i := range table.slots {
		if table.slots[i].Load() != nil {
			n++
		}
	}
	return n
}

// TestCacheKeepsWhatIsAskedFor asks for one text among many others.
func TestCacheKeepsWhatIsAskedFor(t *testing.T) {
	c := NewCache(64, Limits{})
	kept := mustParse(t, c, "select kept from t").Facts
	misses := 0
	for i := range 2000 {
		mustParse(t, c, fmt.Sprintf("select c%d from t", i))
		if mustParse(t, c, "select kept from t").Facts != kept {
			kept = mustParse(t, c, "select kept from t").Facts
			misses++
		}
	}
	if misses > 100 {
		t.Errorf("forgotten %d times", misses)
	}
}

// TestCacheConcurrently is for the race detector.
func TestCacheConcurrently(t *testing.T) {
	c := NewCache(32, Limits{})
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 300 {
				sql := fmt.Sprintf("select c%d from t where id = %d", i%40, g)
				tree, err := c.Parse(sql)
				if err != nil || tree.SQL != sql || tree.Statements[0].Facts.Text != sql {
					t.Errorf("%s: %v, %v", sql, tree, err)
					return
				}
				if tree.Statements[0].Node() == nil {
					t.Errorf("%s: no tree", sql)
				}
			}
		})
	}
	wg.Wait()
}

// otherConstants returns the text with each constant that its normal form
// leaves out replaced by another of its kind.
func otherConstants(sql string) string {
	var b strings.Builder
	lex := lexer{text: sql}
	end, count := 0, false
	for {
		tok := lex.next()
		if tok.kind == tokenEnd {
			b.WriteString(sql[end:])
			return b.String()
		}
		b.WriteString(sql[end:tok.start])
		text := sql[tok.start:tok.end]
		end = tok.end
		switch {
		case count && tok.kind == tokenInteger:
		case tok.kind == tokenInteger:
			text = "7"
		case tok.kind == tokenFloat:
			text = "7.25"
		case tok.kind == tokenString:
			text = "'other'"
		case tok.kind == tokenBits:
			text = "B'1'"
		case tok.kind == tokenHexBits:
			text = "X'A'"
		}
		b.WriteString(text)
		count = tok.kind == tokenWord && wordOf(sql[tok.start:tok.end]) == wordLimit
	}
}

// checkNormalForm checks that a text and its relatives have the same facts
// unless these depend on a constant, and that the cache agrees.
func checkNormalForm(t *testing.T, sql string) {
	t.Helper()
	tree, err := Parse(sql, Limits{})
	if err != nil || len(tree.Statements) != 1 {
		return
	}
	want := tree.Statements[0].Facts

	normalised, err := pg_query.Normalize(sql)
	if err == nil && check(normalised, Limits{}.withDefaults()) == nil {
		if other, err := Parse(normalised, Limits{}); err == nil && len(other.Statements) == 1 && !want.LiteralDependent {
			ignore := cmpopts.IgnoreFields(policylang.Facts{}, "Text", "Shape", "Fingerprint", "Parameters")
			if diff := cmp.Diff(want, other.Statements[0].Facts, ignore); diff != "" {
				t.Fatalf("%q and %q: (-text +normalised)\n%s", sql, normalised, diff)
			}
		}
	}

	other := otherConstants(sql)
	c := NewCache(16, Limits{})
	for _, text := range []string{sql, other, sql} {
		cached, err := c.Parse(text)
		if err != nil {
			continue
		}
		agree(t, cached)
		if got := cached.Statements[0].Facts; text == other && !want.LiteralDependent && len(cached.Statements) == 1 {
			if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(policylang.Facts{}, "Text", "Origin")); diff != "" {
				t.Fatalf("%q and %q: (-text +relative)\n%s", sql, text, diff)
			}
		}
	}
}

func TestNormalForm(t *testing.T) {
	for _, sql := range factsCorpus(t) {
		checkNormalForm(t, sql)
	}
}

// FuzzNormalForm looks for texts whose facts depend on a constant without
// saying so.
func FuzzNormalForm(f *testing.F) {
	for _, sql := range factsCorpus(f) {
		f.Add(sql)
	}
	for _, sql := range lexerCorpus {
		f.Add(sql)
	}
	f.Fuzz(func(t *testing.T, sql string) {
		if len(sql) < 1<<12 {
			checkNormalForm(t, sql)
		}
	})
}
