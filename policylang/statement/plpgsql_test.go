package statement

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	pg_query "github.com/pganalyze/pg_query_go/v5"
)

// bodies are PL/pgSQL as people write it, one feature or two each.
var bodies = []string{
	"begin end",
	"begin null; end;",
	"declare x int; begin x := 1; x = 2; end",
	"declare x int := (select count(*) from t); y text default 'a' || f(1); z constant numeric(10, 2) = 5; begin end",
	"declare x int; begin if x = 1 then delete from a; elsif x > 2 then delete from b; elseif x is null then delete from c; else delete from d; end if; end",
	"declare x int; begin case x when 1, 2 then delete from a; when 3 then null; else delete from b; end case; end",
	"declare x int; begin case when x = 1 then delete from a; end case; end",
	"declare x int := 0; begin loop x := x + 1; exit when x > 5; continue when x = f(x); end loop; end",
	"<<a>> declare x int := 0; begin <<b>> loop exit a when x = 1; exit b; end loop b; end a",
	"declare x int := 0; begin while x < (select max(i) from m) loop x := x + 1; end loop; end",
	"begin for i in 1..10 loop insert into t values (i); end loop; end",
	"begin for i in reverse f(10) .. 1 by g(2) loop insert into t values (i); end loop; end",
	"declare r record; begin for r in select * from t where a in (select b from u) loop update t set a = r.a where b = r.b; end loop; end",
	"declare r record; begin for r in execute 'select * from ' || 't' using 1, f(2) loop null; end loop; end",
	"declare x int; a int[]; begin foreach x in array a || 5 loop null; end loop; foreach x slice 1 in array (select arr from t) loop null; end loop; end",
	"declare x int; y int; begin select a, b into x, y from t where a = 1; select a into strict x from t; select into x a from t; end",
	"declare x int; begin insert into t (a) values (1) returning a into x; update t set a = 2 where a = 1 returning a into strict x; delete from t where a = 1 returning a into x; end",
	"declare x int; begin with d as (delete from t returning *) select count(*) into x from d; end",
	"declare x int; begin perform f(x) from t where a = x; perform pg_sleep(1); end",
	"declare x int; begin execute 'drop table ' || quote_ident('x'); execute 'select 1' into x; execute 'select $1' into strict x using x + 1; execute 'select $1' using x, f(x); end",
	"declare n int; begin get diagnostics n = row_count; get stacked diagnostics n = message_text; end",
	"begin raise notice 'a % b %', f(1), (select count(*) from t); raise; raise exception using message = 'a' || g(1), errcode = '22012'; raise division_by_zero; raise sqlstate '22012' using hint = h(1); raise warning 'x' using detail = 'y'; end",
	"begin assert (select count(*) from t) > 0, 'none' || f(1); end",
	"begin begin delete from a; exception when unique_violation or others then insert into log values (sqlerrm); when sqlstate '22012' then raise; end; end",
	"declare x int; begin begin begin delete from a; end; end; declare y int := f(1); begin delete from b; end; end",
	"begin call p(1, f(2)); commit; rollback; commit and chain; do 'begin end'; end",
	"begin create table t (a int); drop table t; grant select on t to x; lock table t; truncate t; end",
	"declare a int[]; begin a[1] := 5; a[f(1)][2] := g(2); a[1:2] := array[1, 2]; end",
	"declare x int; begin x := case when x = 1 then (select a from t) else 2 end; end",
	"declare x int; begin x := count(*) from t where a = 1; end",
	"declare s text; begin s := 'a;b' || $q$;then loop end$q$ || E'\\';'; -- then; loop\n s := /* ; end */ 'x'; end",
	"declare t1 text; begin t1 := x.then from y; end",
	"#variable_conflict use_column\nbegin delete from t; end",
	"declare \"select\" int; begin \"select\" := 1; end",
	"DECLARE X INT; BEGIN IF X = 1 THEN DELETE FROM A; END IF; FOR I IN 1..2 LOOP NULL; END LOOP; END",
	"begin return; end",
	"begin if true then return; end if; end",
	"begin explain analyze delete from t; analyze t; vacuum t; notify x; set search_path to a; end",
	"begin values (1); end",
	"begin merge into t using s on t.a = s.a when matched then delete; insert into t select * from s; import foreign schema a from server s into b; end",
	"declare a alias for $1; b int; begin b := a; end",
}

// TestBodiesAgree compares the SQL that is found in a body with what the C
// library's PL/pgSQL parser finds.
func TestBodiesAgree(t *testing.T) {
	for _, body := range bodies {
		out, err := pg_query.ParsePlPgSqlToJSON("create function f(a int) returns void language plpgsql as " + dollarQuote(body))
		if err != nil {
			t.Fatalf("%s: %v", body, err)
		}
		var tree any
		if err := json.Unmarshal([]byte(out), &tree); err != nil {
			t.Fatal(err)
		}
		var want []string
		queries(tree, &want)

		r := newBodyReader(body)
		r.body()
		if r.failed {
			t.Errorf("%s: not understood", body)
			continue
		}
		var got []string
		for _, p := range r.pieces {
			switch {
			case p.expression:
				got = append(got, listItems(strings.TrimPrefix(p.sql, "SELECT "))...)
			case !strings.HasPrefix(p.sql, "commit") && !strings.HasPrefix(p.sql, "rollback"): // C has no text for these
				got = append(got, tidy(strings.TrimPrefix(p.sql, "SELECT ")))
			}
		}
		for _, s := range r.dynamic {
			got = append(got, tidy(s))
		}
		slices.Sort(got)
		slices.Sort(want)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: (-C +ours)\n%s", body, diff)
		}
	}
}

func dollarQuote(s string) string { return "$body$" + s + "$body$" }

// queries gathers the text of every PLpgSQL_expr.
func queries(v any, out *[]string) {
	switch v := v.(type) {
	case []any:
		for _, item := range v {
			queries(item, out)
		}
	case map[string]any:
		for key, item := range v {
			expr, ok := item.(map[string]any)
			if key == "PLpgSQL_expr" && ok {
				q, _ := expr["query"].(string)
				mode, _ := expr["parseMode"].(float64)
				if mode >= 3 { // an assignment
					target, value := cutAssignment(q)
					if strings.Contains(target, "[") {
						*out = append(*out, tidy(target))
					}
					q = value
				}
				if _, list, ok := strings.Cut(q, `__" IN (`); ok { // WHEN of a CASE
					*out = append(*out, listItems(strings.TrimSuffix(list, ")"))...)
					continue
				}
				*out = append(*out, tidy(strings.TrimPrefix(q, "SELECT ")))
				continue
			}
			queries(item, out)
		}
	}
}

// listItems cuts a list of expressions.
func listItems(list string) []string {
	r := newBodyReader(list)
	var out []string
	s := span{0, len(r.tokens) - 1}
	for s.from < s.to {
		one := s
		if comma := r.find(s, ","); comma >= 0 {
			one.to = comma
		}
		out = append(out, tidy(r.spanText(one)))
		s.from = one.to + 1
	}
	return out
}

func cutAssignment(q string) (target, value string) {
	if before, after, ok := strings.Cut(q, ":="); ok {
		return before, after
	}
	before, after, _ := strings.Cut(q, "=")
	return before, after
}

var (
	spaces  = regexp.MustCompile(`\s+`)
	comment = regexp.MustCompile(`/\*.*?\*/`)
)

// tidy takes out what may differ: white space, and comments at an end.
func tidy(s string) string {
	return strings.TrimSpace(spaces.ReplaceAllString(comment.ReplaceAllString(s, ""), " "))
}

// TestBodiesThatAreNotUnderstood are opaque, whatever else they hold.
func TestBodiesThatAreNotUnderstood(t *testing.T) {
	for _, body := range []string{
		"", "begin", "begin delete from t end", "begin if a then delete from t; end", "begin loop null; end", "end", "begin end end", "begin end; begin end",
		"begin select 1", "begin x := ; end", "begin frobnicate the table; end", "begin for i in loop null; end loop; end", "begin execute; end",
		"begin create function f() returns int begin atomic select 1; end; end", "begin return query; end", "declare x; begin end", "begin a[1; end", "begin 5; end",
		strings.Repeat("begin ", 1000) + strings.Repeat(" end;", 1000), "begin " + strings.Repeat("execute 'select 1';", 200) + " end",
		"begin raise 'x' using hint; end", "begin exception when others then null; end; end",
	} {
		tree, err := Parse("do "+dollarQuote(body), Limits{})
		if err != nil {
			t.Errorf("%q: %v", body, err)
			continue
		}
		if f := tree.Statements[0].Facts; !f.Opaque || f.ReadOnly {
			t.Errorf("%q: not opaque", body)
		}
	}
}

// FuzzBody reads any body: it must not panic, and what the C library's parser
// takes for SQL must be found, or the body be opaque.
func FuzzBody(f *testing.F) {
	for _, b := range bodies {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, body string) {
		if strings.Contains(body, "$body$") || check(body, Limits{MaxBytes: 1 << 12}.withDefaults()) != nil {
			return
		}
		tree, err := Parse("do "+dollarQuote(body), Limits{})
		if err != nil {
			return
		}
		checkFacts(t, &tree.Statements[0])
	})
}
