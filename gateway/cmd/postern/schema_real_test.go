package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/posternhq/postern/gateway/catalog"
	"github.com/posternhq/postern/gateway/internal/pgtest"
	"github.com/posternhq/postern/policylang/pgcatalog"
	"github.com/posternhq/postern/policylang/scenario"
)

// TestSchemaAgainstServer gives schema files to a real server and to
// scenario.ReadSchema, and wants the same catalog from both, as far as
// names, types and references go.
func TestSchemaAgainstServer(t *testing.T) {
	files, err := filepath.Glob("../../../examples/policies/*/schema.sql")
	if err != nil || len(files) < 6 {
		t.Fatalf("schema files %v, %v", files, err)
	}
	files = append(files, "testdata/schema.sql")
	base, err := scenario.Baseline()
	if err != nil {
		t.Fatal(err)
	}
	cluster := pgtest.New(t)
	for i, file := range files {
		t.Run(filepath.Base(filepath.Dir(file)), func(t *testing.T) {
			sql, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got, problems := scenario.ReadSchema(file, string(sql), base)
			if len(problems) > 0 {
				t.Fatal(problems)
			}
			database := fmt.Sprintf("schema_%d", i)
			cluster.MustExec(t, "postgres", "CREATE DATABASE "+database)
			cluster.MustExec(t, database, string(sql))
			want := loadCatalog(t, cluster, database)
			if diff := cmp.Diff(describeCatalog(want), describeCatalog(got)); diff != "" {
				t.Errorf("(-server +ReadSchema)\n%s", diff)
			}
		})
	}
}

func loadCatalog(t *testing.T, cluster *pgtest.Cluster, database string) *pgcatalog.Catalog {
	t.Helper()
	conn, err := pgconn.Connect(t.Context(), cluster.URL(database, "postgres"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(t.Context()) })
	cat, err := catalog.Load(t.Context(), conn)
	if err != nil {
		t.Fatal(err)
	}
	return cat
}

// describeCatalog lists what users made, a line each, without OIDs.
func describeCatalog(c *pgcatalog.Catalog) []string {
	var lines []string
	for r := range c.Relations() {
		if r.OID >= pgcatalog.FirstUserOID && r.Kind != pgcatalog.RelationSequence {
			lines = append(lines, describeRelation(c, r)...)
		}
	}
	const created = 20_000 // more OIDs than the server has given away by now
	for oid := uint32(pgcatalog.FirstUserOID); oid < pgcatalog.FirstUserOID+created; oid++ {
		if f := c.Function(oid); f != nil {
			lines = append(lines, describeFunction(c, f))
		}
	}
	slices.Sort(lines)
	return lines
}

func describeFunction(c *pgcatalog.Catalog, f *pgcatalog.Function) string {
	var arguments, outputs []string
	for _, t := range f.Arguments {
		arguments = append(arguments, typeName(c, t))
	}
	for _, o := range f.Outputs {
		outputs = append(outputs, o.Name+" "+typeName(c, o.Type))
	}
	return fmt.Sprintf("%s.%s(%s) names %v returns %s %v: kind %c, volatility %c, set %t, definer %t, variadic %t, defaults %d %t, language %s, path %s, source %t",
		f.Schema, f.Name, strings.Join(arguments, ", "), f.Names, typeName(c, f.Result), outputs,
		f.Kind, f.Volatility, f.SetOf, f.Definer, f.Variadic, f.Defaults, f.Values != "", f.Language, strings.ReplaceAll(f.Path, `"`, ""), f.Source != "")
}

func describeRelation(c *pgcatalog.Catalog, r *pgcatalog.Relation) []string {
	name := r.Schema + "." + r.Name
	var lines []string
	add := func(format string, args ...any) { lines = append(lines, name+": "+fmt.Sprintf(format, args...)) }
	add("kind %c, partition %t, row security %t", r.Kind, r.Partition, r.RowSecurity)
	for _, p := range r.Parents {
		add("child of %s", relationName(c, p))
	}
	for i := range r.Columns {
		col := &r.Columns[i]
		typ := typeName(c, col.Type)
		if r.HasDefinition() {
			typ = "" // of expressions it is not always known
		}
		add("column %d %s %s, not null %t, generated %t, identity %t, default %t", col.Number, col.Name, typ, col.NotNull, col.Generated, col.Identity, col.Default != "")
	}
	for i := range r.Constraints {
		k := &r.Constraints[i]
		add("constraint %c %v references %s %v on delete %c on update %c", k.Kind, k.Columns, relationName(c, k.Foreign), k.ForeignColumns, zero(k.OnDelete), zero(k.OnUpdate))
	}
	for i := range r.Indexes {
		x := &r.Indexes[i]
		add("index %v unique %t, expressions %t, predicate %t", x.Columns, x.Unique, x.Expressions != "", x.Predicate != "")
	}
	for _, t := range r.Triggers {
		f := c.Function(t.Function)
		add("trigger %s %s.%s %d", t.Name, f.Schema, f.Name, t.Bits)
	}
	for _, rule := range r.Rules {
		add("rule %s %s %t", rule.Name, rule.Event, rule.Instead)
	}
	for _, p := range r.RowPolicies {
		add("policy %s %t %t", p.Name, p.Using != "", p.Check != "")
	}
	return lines
}

// zero is ActionNone's letter where there is none, as for constraints that are
// no foreign keys.
func zero(a pgcatalog.ReferentialAction) pgcatalog.ReferentialAction {
	if a == 0 || a == ' ' {
		return pgcatalog.ActionNone
	}
	return a
}

func relationName(c *pgcatalog.Catalog, oid uint32) string {
	if r := c.Relation(oid); r != nil {
		return r.Schema + "." + r.Name
	}
	return "-"
}

func typeName(c *pgcatalog.Catalog, oid uint32) string {
	if t := c.Type(oid); t != nil {
		return strings.TrimPrefix(t.Schema+"."+t.Name, "pg_catalog.")
	}
	return fmt.Sprint(oid)
}
