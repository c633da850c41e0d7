package statement

import "testing"

func TestShape(t *testing.T) {
	tests := []struct{ sql, want string }{
		{"", ""},
		{"select 1", "select ?"},
		{"SELECT  *\n FROM t -- secret\n WHERE a = 'secret' /* secret */ AND b IN (1,2.5, 0x1F);", "SELECT * FROM t WHERE a = ? AND b IN (?,?, ?);"},
		{"select 'it''s', E'it\\'s', $$secret$$, $a$ $$ $a$, U&'\\0061' uescape '!', b'101', x'1F', n'x'", "select ?, ?, ?, ?, ? uescape ?, ?, ?, n?"},
		{"select 'a'\n'b'", "select ?"},
		{"select -5, 1e10, .5, 1.", "select -?, ?, ?, ?"},
		{"select $1, \"Name\", \"a ? b\", true, null", "select $1, \"Name\", \"a ? b\", true, null"},
		{"select a ? 'x', a ?| b, a @? 'y'", "select a OPERATOR(?) ?, a OPERATOR(?|) b, a OPERATOR(@?) ?"},
		{"do $$ begin delete from secret; end $$", "do ?"},
		{"select 1/* secret */+/* secret */2", "select ? + ?"},
		{"copy t from stdin with (delimiter '|')", "copy t from stdin with (delimiter ?)"},
		{"create role joe password 'secret'", "create role joe password ?"},
		{"select 'secret", ""},
		{"select /* secret", ""},
		{"select 1secret", ""},
		{"select \\secret", ""},
	}
	for _, tt := range tests {
		if got := Shape(tt.sql); got != tt.want {
			t.Errorf("%q: %q, want %q", tt.sql, got, tt.want)
		}
	}
}

func TestFingerprint(t *testing.T) {
	alike := [][]string{
		{"select a from t where b = 1", "SELECT a\nFROM t WHERE b = 'x' -- c", "select a from t where b = $1"},
		{"select 1 where a in (1)", "select 2 where a in (1, 2)", "select 3 where a in ($1, $2, 'x')"},
		{"insert into t values (1, 2), (3, 4)", "insert into t values (1), (3)"},
	}
	different := []string{
		"select a from t where b = 1", "select a from t where b = c", "select a from u where b = 1", "select \"A\" from t where b = 1", "select A from t where b <> 1",
		"select a, 1 from t", "select 1, a from t", "select 1 a from t", "delete from t where b = 1",
	}
	seen := map[string]string{}
	for _, sql := range different {
		_, f := shapeAndFingerprint(sql)
		if other, dup := seen[f]; dup || len(f) != 16 {
			t.Errorf("%q and %q: %s", sql, other, f)
		}
		seen[f] = sql
	}
	for _, group := range alike {
		_, want := shapeAndFingerprint(group[0])
		for _, sql := range group[1:] {
			if _, got := shapeAndFingerprint(sql); got != want {
				t.Errorf("%q is not like %q", sql, group[0])
			}
		}
	}
}

// FuzzShape checks that the shape of a shape is itself: no constant is left.
func FuzzShape(f *testing.F) {
	for _, s := range lexerCorpus {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, sql string) {
		shape := Shape(sql)
		lex := lexer{text: shape}
		for tok := lex.next(); tok.kind != tokenEnd; tok = lex.next() {
			if tok.kind.isConstant() {
				t.Fatalf("%q: a constant in %q", sql, shape)
			}
		}
	})
}
