package catalog

import (
	"context"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/posternhq/postern/gateway/internal/pgtest"
	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/policylang/pgcatalog"
)

func connect(tb testing.TB, c *pgtest.Cluster, database, role string) *pgconn.PgConn {
	tb.Helper()
	conn, err := pgconn.Connect(tb.Context(), c.URL(database, role))
	if err != nil {
		tb.Fatalf("connect: %v", err)
	}
	tb.Cleanup(func() { _ = conn.Close(context.WithoutCancel(tb.Context())) })
	return conn
}

const testSchema = `
CREATE SCHEMA app;
CREATE TYPE app.mood AS ENUM ('sad', 'glad');
CREATE DOMAIN app.positive AS int CHECK (VALUE > 0) CONSTRAINT small CHECK (VALUE < 9);
CREATE TYPE app.pair AS (a int, b app.mood);
CREATE TABLE app.customers (id serial PRIMARY KEY, gone text, "e""m ail" varchar(20) UNIQUE, mood app.mood DEFAULT 'sad',
	upper text GENERATED ALWAYS AS (upper("e""m ail")) STORED, n int GENERATED ALWAYS AS IDENTITY, CHECK (n > 0), CONSTRAINT two CHECK (n > id));
ALTER TABLE app.customers DROP COLUMN gone;
CREATE TABLE app.orders (id int, customer int REFERENCES app.customers ON DELETE CASCADE ON UPDATE SET NULL, p app.positive);
CREATE INDEX orders_lower ON app.orders ((id + 1), customer) WHERE id > 3;
CREATE TABLE app.events (at date) PARTITION BY RANGE (at);
CREATE TABLE app.events_1 PARTITION OF app.events DEFAULT;
CREATE TABLE app.child (extra text) INHERITS (app.orders);
CREATE VIEW app.v AS SELECT c.id, c."e""m ail" AS mail, lower(c.upper) FROM app.customers c;
CREATE MATERIALIZED VIEW app.m AS SELECT v.mail FROM app.v;
CREATE FUNCTION app.plain(a int, b text DEFAULT 'x') RETURNS int LANGUAGE sql STABLE SET search_path = app, public AS 'SELECT a';
CREATE FUNCTION app.standard(a int) RETURNS int RETURN a + 1;
CREATE FUNCTION app.tab(a int, OUT b text, OUT c int) RETURNS SETOF record LANGUAGE plpgsql SECURITY DEFINER AS 'BEGIN END';
CREATE FUNCTION app.odd() RETURNS text LANGUAGE sql SET standard_conforming_strings = off AS 'SELECT 1';
CREATE FUNCTION app.many(VARIADIC a int[]) RETURNS int LANGUAGE plpgsql AS 'BEGIN END';
CREATE FUNCTION app.fire() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TRIGGER t BEFORE INSERT OR DELETE ON app.orders FOR EACH ROW EXECUTE FUNCTION app.fire();
CREATE RULE r AS ON UPDATE TO app.orders DO ALSO DELETE FROM app.events;
CREATE POLICY p ON app.orders USING (id > 1) WITH CHECK (id > 2);
ALTER TABLE app.orders ENABLE ROW LEVEL SECURITY;
CREATE OPERATOR app.<+> (LEFTARG = int, RIGHTARG = text, FUNCTION = app.plain);
CREATE EXTENSION hstore;
CREATE ROLE nobody LOGIN;
`

func TestLoad(t *testing.T) {
	c := pgtest.New(t)
	c.MustExec(t, "postgres", testSchema)
	// A role without any privilege on the tables reads all the same.
	cat, err := Load(t.Context(), connect(t, c, "postgres", "nobody"))
	if err != nil {
		t.Fatal(err)
	}
	customers, orders := cat.RelationNamed("app", "customers"), cat.RelationNamed("app", "orders")
	child, view := cat.RelationNamed("app", "child"), cat.RelationNamed("app", "v")
	function := func(name string) *pgcatalog.Function {
		t.Helper()
		found := cat.FunctionsNamed("app", name)
		if len(found) != 1 {
			t.Fatalf("%d functions are named %s", len(found), name)
		}
		return found[0]
	}
	plain := function("plain")
	tests := []struct {
		name      string
		got, want any
	}{
		{"database", cat.Database, "postgres"},
		{"version", cat.ServerVersion >= 130000, true},
		{"schema", cat.HasSchema("app"), true},
		{"columns", columnNames(customers), "id 1, e\"m ail 3, mood 4, upper 5, n 6"},
		{"default", customers.ColumnNamed("id").Default, "nextval('app.customers_id_seq'::regclass)"},
		{"default of a user's type", customers.ColumnNamed("mood").Default, "'sad'::app.mood"},
		{"generated", customers.ColumnNamed("upper").Generated, true},
		{"identity", customers.ColumnNamed("n").Identity, true},
		{"not null", customers.ColumnNamed("id").NotNull, true},
		{"modifier", customers.ColumnNamed("e\"m ail").Modifier, int32(24)},
		{"check", constraint(customers, "two"), &pgcatalog.Constraint{
			Name: "two", Kind: pgcatalog.ConstraintCheck, Columns: []int16{6, 1}, Expression: "(n > id)",
			OnDelete: ' ', OnUpdate: ' ',
		}},
		{"foreign key", constraint(orders, "orders_customer_fkey"), &pgcatalog.Constraint{
			Name: "orders_customer_fkey", Kind: pgcatalog.ConstraintForeign, Columns: []int16{2},
			Foreign: customers.OID, ForeignColumns: []int16{1},
			OnDelete: pgcatalog.ActionCascade, OnUpdate: pgcatalog.ActionSetNull,
		}},
		{"references", len(cat.References(customers.OID)), 1},
		{"index", orders.Indexes, []pgcatalog.Index{{
			Name: "orders_lower", Columns: []int16{0, 2}, Expressions: "(id + 1)", Predicate: "(id > 3)",
		}}},
		{"partition", cat.RelationNamed("app", "events_1").Partition, true},
		{"partition key", cat.RelationNamed("app", "events").PartitionKey, []int16{1}},
		{"source under other settings", function("odd").Source, ""},
		{"parents", child.Parents, []uint32{orders.OID}},
		{"children", orders.Children, []uint32{child.OID}},
		{"view", view.Definition, " SELECT c.id,\n    c.\"e\"\"m ail\" AS mail,\n    lower(c.upper) AS lower\n   FROM app.customers c;"},
		{"materialised view", cat.RelationNamed("app", "m").Kind, pgcatalog.RelationMaterializedView},
		{"trigger", orders.Triggers, []pgcatalog.Trigger{{
			Name: "t", Function: function("fire").OID,
			Bits: pgcatalog.TriggerRow | pgcatalog.TriggerBefore | pgcatalog.TriggerInsert | pgcatalog.TriggerDelete,
		}}},
		{"rule", orders.Rules, []pgcatalog.Rule{{
			Name: "r", Event: policylang.VerbUpdate,
			Definition: "CREATE RULE r AS\n    ON UPDATE TO app.orders DO  DELETE FROM app.events;",
		}}},
		{"row security", orders.RowSecurity, true},
		{"row policy", orders.RowPolicies, []pgcatalog.RowPolicy{{Name: "p", Using: "(id > 1)", Check: "(id > 2)"}}},
		{"domain", cat.TypeNamed("app", "positive").Checks, []string{"(VALUE > 0)", "(VALUE < 9)"}},
		{"domain's base", cat.BaseType(cat.TypeNamed("app", "positive").OID), uint32(23)},
		{"enumeration", cat.TypeNamed("app", "mood").Kind, pgcatalog.TypeEnum},
		{"composite type", columnNames(cat.Relation(cat.TypeNamed("app", "pair").Relation)), "a 1, b 2"},
		{"row type", cat.Type(customers.RowType).Name, "customers"},
		{"arguments", plain.Arguments, []uint32{23, 25}},
		{"argument names", plain.Names, []string{"a", "b"}},
		{"argument defaults", plain.Values, "'x'::text"},
		{"source", plain.Source, "SELECT a"},
		{"own path", plain.Path, "app, public"},
		{"volatility", plain.Volatility, pgcatalog.Stable},
		{"parsed body", function("standard").Source, "RETURN (a + 1)"},
		{"outputs", function("tab").Outputs, []pgcatalog.Parameter{{Name: "b", Type: 25}, {Name: "c", Type: 23}}},
		{"security definer", function("tab").Definer, true},
		{"set", function("tab").SetOf, true},
		{"source of a trigger", function("fire").Source, "BEGIN RETURN NEW; END"},
		{"source of another language", function("tab").Source, ""},
		{"variadic", function("many").Variadic, true},
		{"operator", cat.Function(cat.OperatorsNamed("app", "<+>")[0].Function).Name, "plain"},
		{"extension", cat.Extensions()[0].Name, "hstore"},
		{"extension's function", cat.FunctionsNamed("public", "each")[0].Extension, "hstore"},
		{"extension's type", cat.TypeNamed("public", "hstore").Extension, "hstore"},
	}
	for _, tt := range tests {
		if diff := cmp.Diff(tt.want, tt.got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}

func columnNames(r *pgcatalog.Relation) string {
	var names []string
	for _, c := range r.Columns {
		names = append(names, c.Name+" "+string(rune('0'+c.Number)))
	}
	return strings.Join(names, ", ")
}

func constraint(r *pgcatalog.Relation, name string) *pgcatalog.Constraint {
	for i := range r.Constraints {
		if r.Constraints[i].Name == name {
			return &r.Constraints[i]
		}
	}
	return nil
}

// TestChanges makes one change after another, and compares the catalog that
// takes from the one before what did not change with one that is read whole.
func TestChanges(t *testing.T) {
	c := pgtest.New(t)
	c.MustExec(t, "postgres", testSchema)
	conn := connect(t, c, "postgres", "postgres")
	before, err := load(t.Context(), conn, earlier{})
	if err != nil {
		t.Fatal(err)
	}
	previous := earlier{before.builder.Build(1), before.horizon}
	for _, tt := range []struct {
		sql   string
		whole bool // read anew, whole
	}{
		{"SELECT 1", false},
		{"CREATE TABLE app.fresh (a int, b text DEFAULT 'x')", false},
		{"ALTER TABLE app.customers RENAME COLUMN \"e\"\"m ail\" TO mail", false},
		{"ALTER TABLE app.fresh ALTER b SET DEFAULT 'y', ALTER a TYPE bigint", false},
		{"ALTER TABLE app.fresh ALTER b DROP DEFAULT", false},
		{"ALTER TABLE app.customers RENAME TO clients", false},
		{"CREATE OR REPLACE VIEW app.v AS SELECT id, mail, lower(upper), 1 AS one FROM app.clients", false},
		{"ALTER TABLE app.orders ADD COLUMN late text, DROP COLUMN p", false},
		{"ALTER TABLE app.child NO INHERIT app.orders", false},
		{"ALTER TABLE app.events DETACH PARTITION app.events_1", false},
		{"DROP TRIGGER t ON app.orders; DROP RULE r ON app.orders; DROP POLICY p ON app.orders", false},
		{"ALTER TABLE app.orders DROP CONSTRAINT orders_customer_fkey; DROP INDEX app.orders_lower", false},
		{"DROP TABLE app.fresh", false},
		{"CREATE TEMP TABLE own (a int)", false},
		{"CREATE TYPE app.weather AS ENUM ('wet')", true},
		{"ALTER FUNCTION app.plain(int, text) RENAME TO simple", true},
		{"ALTER SCHEMA app RENAME TO application", true},
	} {
		if err := execute(t, conn, tt.sql); err != nil {
			t.Fatalf("%s: %v", tt.sql, err)
		}
		next, err := load(t.Context(), conn, previous)
		if err != nil {
			t.Fatalf("%s: %v", tt.sql, err)
		}
		if next.partial == tt.whole {
			t.Errorf("%s: taken from the catalog before: %v", tt.sql, next.partial)
		}
		whole, err := load(t.Context(), conn, earlier{})
		if err != nil {
			t.Fatal(err)
		}
		got := next.builder.Build(2)
		if diff := cmp.Diff(encoded(t, whole.builder.Build(2)), encoded(t, got)); diff != "" {
			t.Errorf("%s: catalogs differ (-whole +changes):\n%s", tt.sql, diff)
		}
		previous = earlier{got, next.horizon}
	}
}

func execute(t *testing.T, conn *pgconn.PgConn, sql string) error {
	t.Helper()
	_, err := conn.Exec(t.Context(), sql).ReadAll()
	return err
}

// encoded is a catalog's encoding, a line an object.
func encoded(t *testing.T, c *pgcatalog.Catalog) []string {
	t.Helper()
	data, err := c.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return strings.SplitAfter(string(data), "},")
}

func TestLoadFails(t *testing.T) {
	c := pgtest.New(t)
	conn := connect(t, c, "postgres", "postgres")
	if err := conn.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(t.Context(), conn); err == nil || !strings.Contains(err.Error(), "begin the catalog's transaction") {
		t.Errorf("error %v on a closed connection", err)
	}
}
