package statement

import (
	"errors"
	"strings"
	"testing"
	"time"
)

// nested returns texts whose trees are n levels deep in one way each, the class
// of failure being the name.
func nested(n int) map[string]string {
	wrap := func(before, inside, after string) string {
		return "select " + strings.Repeat(before, n) + inside + strings.Repeat(after, n)
	}
	return map[string]string{
		"brackets":            wrap("(", "1", ")"),
		"operator":            wrap("", "1", "+1"),
		"prefix operator":     wrap("- ", "1", ""),
		"user operator":       wrap("", "1", " operator(pg_catalog.+) 1"),
		"unusual operator":    wrap("", "a", " <-> a"),
		"cast":                wrap("", "1", "::int"),
		"cast function":       wrap("cast(", "1", " as int)"),
		"not":                 wrap("not ", "true", ""),
		"is null":             wrap("", "1", " is null"),
		"isnull":              wrap("", "1", " isnull"),
		"notnull":             wrap("", "1", " notnull"),
		"is distinct":         wrap("", "1", " is distinct from (1)"),
		"in":                  wrap("", "1", " in (1)"),
		"not in":              wrap("", "1", " not in (1)"),
		"like":                wrap("", "1", " like any (array['a'])"),
		"collate":             wrap("", "a", ` collate "C"`),
		"at time zone":        wrap("", "a", ` at time zone 'utc'`),
		"between, is":         wrap("", "1", " between 1 and 2 is true"),
		"and in a between":    wrap("", "1", " between 1 and 2 is true between 3 and 4 is true"),
		"union":               wrap("", "1", " union select 1"),
		"union with lists":    wrap("", "1", " union select 1, 2 from a, b where c and d or e"),
		"except, in order":    wrap("", "1", " except all select 1"),
		"intersect":           wrap("", "1", " intersect select 1"),
		"join":                "select 1 from a" + strings.Repeat(" join b on x and y or z", n),
		"cross join":          "select 1 from a" + strings.Repeat(" cross join b", n),
		"join, to the right":  "select 1 from " + strings.Repeat("a join ", n) + "a" + strings.Repeat(" on x", n),
		"natural join":        "select 1 from a" + strings.Repeat(" natural left join b", n),
		"join brackets":       "select 1 from " + strings.Repeat("(a cross join ", n) + "a" + strings.Repeat(")", n),
		"subquery":            wrap("(select ", "1", ")"),
		"subquery in from":    "select 1 from " + strings.Repeat("(select 1 from ", n) + "a" + strings.Repeat(") x", n),
		"with":                strings.Repeat("with x as (", n) + "select 1" + strings.Repeat(") select 1", n),
		"array":               wrap("array[", "1", "]"),
		"subscript":           wrap("a[", "1", "]"),
		"case":                wrap("case when true then ", "1", " end"),
		"case to the right":   wrap("case when false then 1 else ", "1", " end"),
		"function":            wrap("f(", "1", ")"),
		"row":                 wrap("row(", "1", ")"),
		"chains in brackets":  wrap("(1+1+1+", "1", ")+1+1+1"),
		"lists in brackets":   wrap("f(1,", "1", ",2)"),
		"xml":                 wrap("xmlforest(", "1", " as a)"),
		"json":                wrap("json_array(", "1", ")"),
		"filter":              wrap("f() filter (where ", "1", ")"),
		"grouping sets":       "select 1 group by " + strings.Repeat("rollup(", n) + "1" + strings.Repeat(")", n),
		"function bodies":     strings.Repeat("create function f() returns int begin atomic ", n) + "select 1;" + strings.Repeat(" end;", n),
		"end as a label":      wrap("not case when x.end and ", "1", " then 1 end"),
		"case as a label":     "select 1 as case" + strings.Repeat(" union select 1 as case", n),
		"long s is no letter": "select 1 aſ" + strings.Repeat(" union select 1 aſ", n),
		"quoted brackets":     "select ')' " + strings.Repeat("|| (')' ", n) + strings.Repeat(")", n),
		"comment brackets":    "select 1 " + strings.Repeat("+ (/* ) */ 1 -- )\n ", n) + strings.Repeat(")", n),
		"dollar brackets":     "select 1 " + strings.Repeat("|| ($a$)$a$ ", n) + strings.Repeat(")", n),
	}
}

// TestGuardStopsDepth gives each way to nest, far beyond what the C parser's
// stack can bear.
func TestGuardStopsDepth(t *testing.T) {
	for name, sql := range nested(100_000) {
		_, err := Parse(sql, Limits{MaxBytes: 100 << 20})
		var e *Error
		if !errors.As(err, &e) || e.Kind != TooDeep {
			t.Errorf("%s: %v, want %s", name, err, TooDeep)
		}
	}
}

// TestGuardIsNeverTooLow parses each way to nest as deep as the guard lets it
// pass: if the guard counted too little, the process would end.
func TestGuardIsNeverTooLow(t *testing.T) {
	for _, n := range []int{10, 300, 700, 1400, 2900} {
		for name, sql := range nested(n) {
			_, err := Parse(sql, Limits{})
			var e *Error
			if err != nil && (!errors.As(err, &e) || e.Kind == NotUTF8) {
				t.Errorf("%s, %d: %v", name, n, err)
			}
		}
	}
}

// TestGuardLetsPass reads texts that are long but flat.
func TestGuardLetsPass(t *testing.T) {
	const n = 20_000
	tests := map[string]string{
		"in list":         "select * from t where id in (1" + strings.Repeat(", 1", n) + ")",
		"values":          "insert into t values (1, 2)" + strings.Repeat(", (1, -2)", n),
		"and":             "select * from t where a = 1" + strings.Repeat(" and a = 1", n),
		"or":              "select * from t where a = 1" + strings.Repeat(" or a <> -1 and b is null", n),
		"select list":     "select a + 1" + strings.Repeat(", a + 1", n),
		"long string":     "select '" + strings.Repeat("((((", n) + "'",
		"long comment":    "select 1 /* " + strings.Repeat("((((", n) + " */",
		"long name":       "select " + strings.Repeat("a", n),
		"columns of ctes": "with x as (select 1" + strings.Repeat(", 1", n) + ") select * from x",
		"between":         "select * from t where a between 1 and 2" + strings.Repeat(" and a between 1 and 2", 2900),
	}
	for name, sql := range tests {
		if _, err := Parse(sql, Limits{}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestErrors has a text for each kind of error.
func TestErrors(t *testing.T) {
	tests := []struct {
		name     string
		sql      string
		limits   Limits
		kind     ErrorKind
		message  string
		position int
	}{
		{"100 MB", strings.Repeat("select 1;", 100<<20/9), Limits{}, TooLong, "the text has 104857596 bytes, at most 1048576 are accepted", 0},
		{"100 MB, however long", "select '" + strings.Repeat("x", 100<<20) + "'", Limits{MaxBytes: 10}, TooLong, "the text has 104857609 bytes, at most 10 are accepted", 0},
		{"invalid UTF-8", "select 'é\xff'", Limits{}, NotUTF8, "the text is not valid UTF-8", 10},
		{"surrogate", "select '\xed\xa0\x80'", Limits{}, NotUTF8, "the text is not valid UTF-8", 9},
		{"overlong", "select '\xc0\xa7'", Limits{}, NotUTF8, "the text is not valid UTF-8", 9},
		{"replacement character is valid", "select '\uFFFD' from", Limits{}, Syntax, "syntax error at end of input", 16},
		{"zero byte", "select 1\x00; drop table t", Limits{}, NulByte, "the text holds a zero byte", 0},
		{"100,000 brackets", "select " + strings.Repeat("(", 100_000), Limits{}, TooDeep, "the text nests deeper than 3000 levels", 3007},
		{"brackets that close nothing", "select " + strings.Repeat(")", 100_000), Limits{}, Syntax, `syntax error at or near ")"`, 8},
		{"depth cannot be raised", "select " + strings.Repeat("(", 100_000), Limits{MaxDepth: 1 << 30}, TooDeep, "the text nests deeper than 3000 levels", 3007},
		{"statements", strings.Repeat("select 1;", 101), Limits{}, TooMany, "the text has more than 100 statements", 901},
		{"statements, limited", "select 1; select 2", Limits{MaxStatements: 1}, TooMany, "the text has more than 1 statements", 11},
		{"deprecated words", strings.Repeat("(select 1 into global temp a),", 1000), Limits{}, TooMany, "the text says GLOBAL more than 100 times", 3016},
		{"comments in a row", "select 1" + strings.Repeat("/**/", 200_000), Limits{}, TooMany, "the text has too many comments or operators in a row", 800009},
		{"comments in comments", "select 1" + strings.Repeat("/*", 100_000), Limits{}, TooMany, "the text has too many comments or operators in a row", 9},
		{"operators and comments", "select 1" + strings.Repeat("+/**/", 100_000) + "1", Limits{}, TooMany, "the text has too many comments or operators in a row", 94},
		{"operators in a row", "select " + strings.Repeat("+-", 100_000) + "1", Limits{}, TooMany, "the text has too many comments or operators in a row", 91},
		{"syntax", "selec 1", Limits{}, Syntax, `syntax error at or near "selec"`, 1},
		{"syntax behind other letters", "select 'é' fro t fro t", Limits{}, Syntax, `syntax error at or near "t"`, 16},
		{"a constant is not told", "select 1 from t where 'secret' 'token'", Limits{}, Syntax, "syntax error", 32},
		{"a number is not told", "select 1 from t 12345", Limits{}, Syntax, "syntax error", 17},
		{"unterminated constant", "select 'secret", Limits{}, Syntax, "unterminated quoted string", 8},
		{"unterminated dollar", "select $a$secret", Limits{}, Syntax, "unterminated dollar-quoted string", 8},
		{"unterminated comment", "select /* secret", Limits{}, Syntax, "unterminated /* comment", 8},
		{"junk behind a number", "select 123secret", Limits{}, Syntax, "trailing junk after numeric literal", 8},
		{"bad escape", `select E'\uD800'`, Limits{}, Syntax, "invalid Unicode surrogate pair", 16},
		{"bad bits", "select x'zz' 'secret'", Limits{}, Syntax, "syntax error", 14},
		{"end of input", "select * from", Limits{}, Syntax, "syntax error at end of input", 14},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tree, err := Parse(tt.sql, tt.limits)
			var e *Error
			if !errors.As(err, &e) {
				t.Fatalf("error %v, want an *Error", err)
			}
			if tree != nil {
				t.Error("a tree beside an error")
			}
			if e.Kind != tt.kind || e.Message != tt.message || e.Position != tt.position {
				t.Errorf("got %s %q at %d, want %s %q at %d", e.Kind, e.Message, e.Position, tt.kind, tt.message, tt.position)
			}
		})
	}
}

// TestEmptyTextHasNoStatements covers what PostgreSQL answers with
// EmptyQueryResponse.
func TestEmptyTextHasNoStatements(t *testing.T) {
	for _, sql := range []string{"", " ", ";", ";;\n;", "-- nothing", "/* nothing */ ;"} {
		tree, err := Parse(sql, Limits{})
		if err != nil || len(tree.Statements) != 0 {
			t.Errorf("%q: %v, %v", sql, tree, err)
		}
	}
}

// TestTextsAndOffsets checks what a text of several statements is cut into.
func TestTextsAndOffsets(t *testing.T) {
	sql := " select 'é;' ; /* c */ begin;;\n delete from t where a = $$;$$ -- end\n"
	tree, err := Parse(sql, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"select 'é;'", "/* c */ begin", "delete from t where a = $$;$$ -- end"}
	if len(tree.Statements) != len(want) {
		t.Fatalf("%d statements, want %d", len(tree.Statements), len(want))
	}
	for i := range want {
		st := &tree.Statements[i]
		if st.Text != want[i] || st.Facts.Text != want[i] || !strings.HasPrefix(sql[st.Offset:], want[i]) {
			t.Errorf("statement %d: %q at %d, want %q", i, st.Text, st.Offset, want[i])
		}
	}
}

// FuzzParse reads any text at all: it must not panic, and what cannot be read
// has an *Error and no tree.
func FuzzParse(f *testing.F) {
	for _, s := range lexerCorpus {
		f.Add(s)
	}
	for _, s := range nested(3) {
		f.Add(s)
	}
	for _, s := range factsCorpus(f) {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, sql string) {
		start := time.Now()
		tree, err := Parse(sql, Limits{})
		if took := time.Since(start); took > 20*time.Second {
			t.Errorf("took %s", took)
		}
		var e *Error
		switch {
		case err != nil && (tree != nil || !errors.As(err, &e)):
			t.Fatalf("%v beside %v", err, tree)
		case err != nil:
			return
		}
		for i := range tree.Statements {
			checkFacts(t, &tree.Statements[i])
		}
	})
}

// checkFacts checks what holds for the facts of any statement.
func checkFacts(t *testing.T, st *Statement) {
	t.Helper()
	f := st.Facts
	switch {
	case f.Text != st.Text, f.Class == "", f.Command == "" && !f.Opaque, len(f.Commands) == 0 && !f.Opaque:
		t.Errorf("%q: incomplete: %+v", st.Text, f)
	case f.ReadOnly && (f.Writes || f.DDL || f.Opaque):
		t.Errorf("%q: read-only, but %+v", st.Text, f)
	case len(f.Unknown) > 0 && !f.Opaque, len(f.Unknown) == 0 && (f.Known.Class != f.Class || f.Known.Opaque != f.Opaque || f.Known.ReadOnly != f.ReadOnly):
		t.Errorf("%q: unknown %v, known %+v", st.Text, f.Unknown, f.Known)
	case f.Shape == "" || f.Fingerprint == "":
		t.Errorf("%q: no shape", st.Text)
	}
	if st.Session.Inner != nil {
		checkFacts(t, st.Session.Inner)
	}
}
