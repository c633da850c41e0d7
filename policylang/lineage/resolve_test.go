package lineage_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/policylang/lineage"
	"github.com/posternhq/postern/policylang/statement"
)

const resolveSchema = `
CREATE SCHEMA app;
CREATE TABLE customers (id int PRIMARY KEY, name text);
CREATE TABLE orders (id int, customer int REFERENCES customers ON DELETE CASCADE ON UPDATE CASCADE);
CREATE TABLE notes (id int, customer int REFERENCES customers ON DELETE SET NULL);
CREATE TABLE app.events (at date) PARTITION BY RANGE (at);
CREATE TABLE app.events_1 PARTITION OF app.events DEFAULT;
CREATE VIEW v AS SELECT id FROM customers;
CREATE VIEW app.over AS SELECT id FROM public.v;
CREATE FUNCTION app.f() RETURNS int LANGUAGE plpgsql AS 'BEGIN RETURN 1; END';
CREATE VIEW calls AS SELECT app.f() AS f;
CREATE TABLE ruled (a int);
CREATE RULE r AS ON INSERT TO ruled DO ALSO DELETE FROM notes;
CREATE DOMAIN plain AS int;
CREATE DOMAIN checked AS int CHECK (VALUE > 0);
CREATE FUNCTION lower(i int) RETURNS int LANGUAGE plpgsql AS 'BEGIN RETURN 1; END';
CREATE TABLE watched (a int);
CREATE FUNCTION watch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN DELETE FROM notes; RETURN NEW; END';
CREATE TRIGGER w BEFORE INSERT ON watched FOR EACH ROW EXECUTE FUNCTION watch();
CREATE VIEW watched_view AS SELECT a FROM watched;
CREATE TABLE called (a int, b int DEFAULT app.f());
CREATE TABLE held (a int CHECK (a > app.f()));
CREATE TABLE guarded (a int);
ALTER TABLE guarded ENABLE ROW LEVEL SECURITY;
CREATE POLICY p ON guarded USING (a = app.f());
CREATE TABLE plainly (id serial PRIMARY KEY, a int CHECK (a > 0), t text DEFAULT 'x');
CREATE INDEX ON plainly (pg_catalog.lower(t)) WHERE a > 1;
`

func TestResolve(t *testing.T) {
	plain := schema(t, baseline(t), resolveSchema)
	edited := plain.Edit()
	watch := *plain.FunctionsNamed("public", "watch")[0]
	watch.Source = "BEGIN DELETE FROM notes; RETURN NEW; END"
	edited.AddFunction(watch)
	cat := edited.Build(1)
	env := lineage.Environment{SearchPath: []string{"pg_catalog", "public"}, Database: cat.Database}
	tests := []struct {
		name, sql string
		relations string // "verb schema.name via way", sorted
		functions string
		class     policylang.Class
		opaque    bool
	}{
		{"table", "SELECT 1 FROM customers", "read public.customers", "", policylang.ClassRead, false},
		{"unknown table", "SELECT 1 FROM nowhere", "read .nowhere", "", policylang.ClassRead, false},
		{"other schema", "SELECT 1 FROM events_1", "read .events_1", "", policylang.ClassRead, false},
		{"view", "SELECT 1 FROM v", "read public.customers via view, read public.v", "", policylang.ClassRead, false},
		{"view over view", "SELECT 1 FROM app.over", "read app.over, read public.customers via view, read public.v via view", "", policylang.ClassRead, false},
		{
			"write to view", "DELETE FROM v",
			"delete public.customers via view, delete public.orders via foreign_key, delete public.v, read public.customers via view, update public.notes via foreign_key",
			"", policylang.ClassWrite, false,
		},
		{"partition", "SELECT 1 FROM app.events_1", "read app.events via inheritance, read app.events_1", "", policylang.ClassRead, false},
		{"partitioned", "INSERT INTO app.events VALUES (now())", "insert app.events, insert app.events_1 via inheritance", "pg_catalog.now", policylang.ClassWrite, false},
		{
			"cascades", "DELETE FROM customers WHERE id = 1",
			"delete public.customers, delete public.orders via foreign_key, read public.customers, update public.notes via foreign_key", "", policylang.ClassWrite, false,
		},
		{
			"update cascades", "UPDATE customers SET id = 1",
			"update public.customers, update public.orders via foreign_key", "", policylang.ClassWrite, false,
		},
		{
			"truncate", "TRUNCATE customers CASCADE",
			"truncate ., truncate public.customers, truncate public.notes via foreign_key, truncate public.orders via foreign_key", "", policylang.ClassWrite, false,
		},
		{"rule", "INSERT INTO ruled VALUES (1)", "delete public.notes via rule, insert public.ruled", "", policylang.ClassWrite, false},
		{"user's function", "SELECT app.f()", "", "app.f", policylang.ClassFunction, true},
		{"view that calls", "SELECT f FROM calls", "read public.calls", "app.f", policylang.ClassFunction, true},
		{"overloaded name", "SELECT lower('x')", "", "lower", policylang.ClassFunction, true},
		{
			"trigger", "INSERT INTO watched (a) VALUES (1)", "delete public.notes via trigger, insert public.watched",
			"public.watch", policylang.ClassWrite, false,
		},
		{
			"trigger behind a view", "INSERT INTO watched_view VALUES (1)",
			"delete public.notes via trigger, insert public.watched via view, insert public.watched_view, read public.watched via view",
			"public.watch", policylang.ClassWrite, false,
		},
		{"trigger of another verb", "DELETE FROM watched", "delete public.watched", "", policylang.ClassWrite, false},
		{"default", "INSERT INTO called (a) VALUES (1)", "insert public.called", "app.f", policylang.ClassFunction, true},
		{"default that is not used", "DELETE FROM called", "delete public.called", "", policylang.ClassWrite, false},
		{"check", "UPDATE held SET a = 1", "update public.held", "app.f", policylang.ClassFunction, true},
		{"row policy", "SELECT 1 FROM guarded", "read public.guarded", "app.f", policylang.ClassFunction, true},
		{"harmless constraints", "INSERT INTO plainly (a) VALUES (1)", "insert public.plainly", "pg_catalog.lower, pg_catalog.nextval", policylang.ClassWrite, false},
		{"harmless type", "SELECT 1::plain", "", "", policylang.ClassRead, false},
		{"type with a check", "SELECT 1::checked", "", "", policylang.ClassFunction, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tree, err := statement.Parse(tt.sql, statement.Limits{})
			if err != nil {
				t.Fatal(err)
			}
			before := *tree.Statements[0].Facts
			got := lineage.Resolve(tree.Statements[0].Facts, env, cat)
			var relations []string
			for _, r := range got.Relations {
				relation := string(r.Verb) + " " + r.Schema + "." + r.Name
				if r.Via != "" {
					relation += " via " + string(r.Via)
				}
				relations = append(relations, relation)
			}
			slices.Sort(relations)
			if diff := cmp.Diff(tt.relations, strings.Join(relations, ", ")); diff != "" {
				t.Errorf("relations (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.functions, strings.Join(got.Functions, ", ")); diff != "" {
				t.Errorf("functions (-want +got):\n%s", diff)
			}
			if got.Class != tt.class || got.Opaque != tt.opaque {
				t.Errorf("class %s, opaque %v; want %s, %v", got.Class, got.Opaque, tt.class, tt.opaque)
			}
			if diff := cmp.Diff(before, *tree.Statements[0].Facts); diff != "" {
				t.Errorf("the facts were changed:\n%s", diff)
			}
		})
	}
}

// TestResolveUnknownPath leaves names alone that the search_path would resolve.
func TestResolveUnknownPath(t *testing.T) {
	cat := schema(t, baseline(t), resolveSchema)
	tree, err := statement.Parse("SELECT app.f(), lower('x') FROM customers, public.v", statement.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	got := lineage.Resolve(tree.Statements[0].Facts, lineage.Environment{Database: cat.Database}, cat)
	want := []policylang.Relation{
		{Name: "customers", Verb: policylang.VerbRead},
		{Schema: "public", Name: "customers", Verb: policylang.VerbRead, Via: policylang.ViaView},
		{Schema: "public", Name: "v", Verb: policylang.VerbRead},
	}
	if diff := cmp.Diff(want, got.Relations); diff != "" {
		t.Errorf("relations (-want +got):\n%s", diff)
	}
}
