package scenario_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/policylang/lineage"
	"github.com/posternhq/postern/policylang/scenario"
	"github.com/posternhq/postern/policylang/statement"
)

// What ReadSchema makes of good files is compared with a real server beside
// the command line. Here is what it refuses, and where it points.
func TestReadSchemaProblems(t *testing.T) {
	tests := []struct{ name, sql, want string }{
		{"syntax", "CREATE TABLE a (id int);\nCREATE TABEL b (id int);", `s.sql:2:8: syntax error at or near "TABEL"`},
		{"rows", "CREATE TABLE a (id int);\nCOPY a (id) FROM stdin;\n1\n\\.\n", "pg_dump --schema-only"},
		{"unknown type", "CREATE TABLE a (\n  id int,\n  x citext);", `s.sql:3:5: there is no type "citext"`},
		{"unknown schema", "CREATE TABLE nowhere.a (id int);", `s.sql:1:1: there is no schema "nowhere"`},
		{"unknown table", "CREATE TABLE a (id int REFERENCES b);", `s.sql:1:35: there is no relation "b"`},
		{"unknown parent", "CREATE TABLE a () INHERITS (b);", `there is no relation "b"`},
		{"unknown column of a key", "CREATE TABLE a (id int, PRIMARY KEY (ident));", `"public.a" has no column "ident"`},
		{"unknown column of an index", "CREATE TABLE a (id int); CREATE INDEX ON a (ident);", `"public.a" has no column "ident"`},
		{"unknown function of a trigger", "CREATE TABLE a (id int); CREATE TRIGGER t AFTER INSERT ON a EXECUTE FUNCTION f();", `there is no function "f"`},
		{"view of nothing", "CREATE VIEW v AS SELECT * FROM nothing;", "s.sql:1:1: the view's query cannot be followed"},
		{"twice", "CREATE TABLE a (id int); CREATE VIEW a AS SELECT 1;", `there are two relations "public.a"`},
		{"drop", "CREATE TABLE a (id int);\nDROP TABLE a;", "s.sql:2:1: a schema file cannot have DROP TABLE"},
		{"rename", "CREATE TABLE a (id int); ALTER TABLE a RENAME TO b;", "a schema file cannot have ALTER TABLE"},
		{"alter", "CREATE TABLE a (id int); ALTER TABLE a DROP COLUMN id;", "this form of ALTER TABLE"},
		{"table as", "CREATE TABLE a AS SELECT 1;", "declare the table's columns"},
		{"select", "SELECT 1;", "a schema file cannot have SELECT"},
		{"of type", "CREATE TYPE t AS (a int); CREATE TABLE x OF t;", "tables OF a type"},
		{"recursive view", "CREATE RECURSIVE VIEW v (n) AS VALUES (1) UNION ALL SELECT n + 1 FROM v;", "recursive views"},
		{"exclusion", "CREATE TABLE a (r int4range, EXCLUDE USING gist (r WITH &&));", "exclusion constraints"},
		{"no search path", "SELECT pg_catalog.set_config('search_path', '', false); CREATE TABLE a (id int);", "no schema has been selected"},
		{"extension's objects", "CREATE EXTENSION hstore; CREATE TABLE a (x hstore);", `there is no type "hstore"`},
	}
	base := baseline(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cat, problems := scenario.ReadSchema("s.sql", tt.sql, base)
			if cat != nil || len(problems) == 0 {
				t.Fatalf("catalog %v, problems %v", cat, problems)
			}
			var got []string
			for _, p := range problems {
				got = append(got, p.Error())
				if p.Line < 1 || p.Col < 1 {
					t.Errorf("no position: %v", p)
				}
			}
			if !strings.Contains(strings.Join(got, "\n"), tt.want) {
				t.Errorf("problems:\n%s\nwant %q", strings.Join(got, "\n"), tt.want)
			}
		})
	}
}

// TestReadSchemaDefaults reads defaults whose own brackets, and functions whose
// names, are easily taken for the end of something or for its start.
func TestReadSchemaDefaults(t *testing.T) {
	const sql = `CREATE TABLE a (
    at timestamptz DEFAULT now() NOT NULL,
    day date DEFAULT (now())::date,
    tags text[] DEFAULT ARRAY['x', 'y'],
    last timestamptz DEFAULT now()
);
ALTER TABLE a ADD COLUMN added timestamptz DEFAULT clock_timestamp();
CREATE FUNCTION atomic() RETURNS int LANGUAGE sql RETURN 1 + 1;
CREATE FUNCTION atomic2(atomic int) RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT 2; END;`
	cat, problems := scenario.ReadSchema("s.sql", sql, baseline(t))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	got := map[string]string{}
	for _, c := range cat.RelationNamed("public", "a").Columns {
		got[c.Name] = c.Default
	}
	for _, name := range []string{"atomic", "atomic2"} {
		for _, f := range cat.FunctionsNamed("public", name) {
			got[name] = f.Source
		}
	}
	want := map[string]string{
		"at": "now()", "day": "(now())::date", "tags": "ARRAY['x', 'y']", "last": "now()", "added": "clock_timestamp()",
		"atomic": "RETURN 1 + 1", "atomic2": "BEGIN ATOMIC SELECT 2; END",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// TestReadSchemaDump reads what only pg_dump writes: psql's own commands, and
// settings.
func TestReadSchemaDump(t *testing.T) {
	const dump = `--
-- PostgreSQL database dump
--

\restrict abc

SET client_encoding = 'UTF8';
SELECT pg_catalog.set_config('search_path', '', false);
SET default_table_access_method = heap;

CREATE TABLE public.a (
    id bigint NOT NULL,
    note text DEFAULT '
\not a command
'::text
);

ALTER TABLE public.a OWNER TO app;

CREATE SEQUENCE public.a_id_seq START WITH 1 INCREMENT BY 1 NO MINVALUE NO MAXVALUE CACHE 1;
ALTER SEQUENCE public.a_id_seq OWNED BY public.a.id;
ALTER TABLE ONLY public.a ALTER COLUMN id SET DEFAULT nextval('public.a_id_seq'::regclass);

\unrestrict abc
`
	cat, problems := scenario.ReadSchema("dump.sql", dump, baseline(t))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	a := cat.RelationNamed("public", "a")
	if got := a.ColumnNamed("note").Default; got != "'\n\\not a command\n'::text" {
		t.Errorf("default of note %q", got)
	}
	if got := a.ColumnNamed("id").Default; got != "nextval('public.a_id_seq'::regclass)" {
		t.Errorf("default of id %q", got)
	}
}

// TestReadSchemaQualifies shows that stored definitions mean the same under any
// search path, as they do in a server's catalog.
func TestReadSchemaQualifies(t *testing.T) {
	const sql = `CREATE SCHEMA app;
SET search_path = app;
CREATE TYPE mood AS ENUM ('ok');
CREATE FUNCTION twice(x int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 2 * x';
CREATE TABLE t (id int, m mood, doubled int GENERATED ALWAYS AS (twice(id)) STORED, CHECK (twice(id) > 0));
CREATE FUNCTION half(x int) RETURNS int LANGUAGE sql RETURN twice(x) / 4;
CREATE FUNCTION all_ids() RETURNS SETOF int LANGUAGE sql BEGIN ATOMIC SELECT id FROM t; END;
CREATE FUNCTION many(a numeric(4,2), b int DEFAULT twice(1), c text = 'a, b', d mood DEFAULT ('ok')::mood) RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE VIEW v AS WITH t2 AS (SELECT * FROM t) SELECT twice(t2.id) AS n, t2.m::mood, lower('T') FROM t2, t WHERE t.id = t2.id;
`
	cat, problems := scenario.ReadSchema("s.sql", sql, baseline(t))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	table, view := cat.RelationNamed("app", "t"), cat.RelationNamed("app", "v")
	tests := []struct{ name, got, want string }{
		{"generated", table.ColumnNamed("doubled").Default, `"app".twice(id)`},
		{"check", table.Constraints[0].Expression, `"app".twice(id) > 0`},
		{"body", cat.FunctionsNamed("app", "half")[0].Source, `RETURN "app".twice(x) / 4`},
		{"atomic body", cat.FunctionsNamed("app", "all_ids")[0].Source, "BEGIN ATOMIC SELECT id FROM \"app\".t; END"},
		{"text body", cat.FunctionsNamed("app", "twice")[0].Source, "SELECT 2 * x"},
		{"defaults", cat.FunctionsNamed("app", "many")[0].Values, `"app".twice(1), 'a, b', ('ok')::"app".mood`},
		{"view", view.Definition, `WITH t2 AS (SELECT * FROM "app".t) SELECT "app".twice(t2.id) AS n, t2.m::"app".mood, lower('T') FROM t2, "app".t WHERE t.id = t2.id`},
	}
	for _, tt := range tests {
		if tt.got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, tt.got, tt.want)
		}
	}
	var columns []string
	for i := range view.Columns {
		columns = append(columns, view.Columns[i].Name+" "+cat.Type(view.Columns[i].Type).Name)
	}
	if got := strings.Join(columns, ", "); got != "n int4, m mood, lower text" {
		t.Errorf("columns of the view: %s", got)
	}
}

// TestReadSchemaFollows masks a table's column and follows it through a view
// and a generated column.
func TestReadSchemaFollows(t *testing.T) {
	const sql = `CREATE TABLE people (id int, email text, shown text GENERATED ALWAYS AS (left(email, 3)) STORED);
CREATE VIEW v AS SELECT id, email AS contact, shown FROM people;`
	cat, problems := scenario.ReadSchema("s.sql", sql, baseline(t))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	prot := lineage.Protect(cat, policylang.NewMaskSet([]policylang.Mask{{
		Policy: "p", Columns: []string{"public.people.email"}, Transform: policylang.Transform{Kind: policylang.TransformPartial},
	}}))
	tree, err := statement.Parse("select * from v", statement.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	env := lineage.Environment{SearchPath: []string{"pg_catalog", "public"}}
	analysis, refusal := lineage.Analyze(&tree.Statements[0], env, cat, prot)
	if refusal != nil {
		t.Fatal(refusal)
	}
	var got []string
	for _, c := range analysis.Columns {
		got = append(got, c.Name+" "+c.Action.String())
	}
	if g := strings.Join(got, ", "); g != "id pass, contact mask, shown redact" {
		t.Errorf("columns: %s", g)
	}
}

// FuzzReadSchema checks that whatever the text, there is a catalog or a
// problem.
func FuzzReadSchema(f *testing.F) {
	f.Add("CREATE TABLE a (id int DEFAULT 1 + (2) NOT NULL, b text GENERATED ALWAYS AS ('x' || id) STORED);")
	f.Add("CREATE VIEW v AS SELECT 1 AS a, $$b$$, E'\\'' /* c /* d */ */ -- e\n FROM pg_class WITH CHECK OPTION;")
	f.Add("CREATE FUNCTION f(a int DEFAULT 1) RETURNS int LANGUAGE sql RETURN a; CREATE SCHEMA s CREATE TABLE t (id serial)")
	f.Add("\\x\nCREATE TABLE \"a\"\"b\" (c int[] REFERENCES \"a\"\"b\")")
	base, err := scenario.Baseline()
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, sql string) {
		cat, problems := scenario.ReadSchema("s.sql", sql, base)
		if (cat == nil) != (len(problems) > 0) {
			t.Errorf("catalog %v with problems %v", cat, problems)
		}
		for _, p := range problems {
			if p.File != "s.sql" || p.Summary == "" {
				t.Errorf("problem %+v", p)
			}
		}
	})
}
