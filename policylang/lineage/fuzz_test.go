package lineage_test

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/tools/txtar"

	"github.com/posternhq/postern/policylang/lineage"
	"github.com/posternhq/postern/policylang/pgcatalog"
	"github.com/posternhq/postern/policylang/statement"
)

const fuzzSchema = `
CREATE TABLE customers (id int PRIMARY KEY, name text NOT NULL, email text UNIQUE, ssn varchar(11), notes text, balance numeric(12,2));
CREATE TABLE orders (id int PRIMARY KEY, customer_id int REFERENCES customers (id) ON DELETE CASCADE, item text, total numeric);
CREATE VIEW v AS SELECT id AS cid, name, email AS contact FROM customers;
CREATE FUNCTION get_email(i int) RETURNS text LANGUAGE sql AS 'SELECT email FROM customers WHERE id = i';
`

const fuzzMasks = "pii redact public.customers.email\nids partial keep_last=4 public.customers.ssn\n"

// FuzzAnalyze checks that whatever the statement, there is an answer in time: a
// refusal or an analysis, never both, and no fault of our own.
func FuzzAnalyze(f *testing.F) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		archive, err := txtar.ParseFile(file)
		if err != nil {
			f.Fatal(err)
		}
		for _, sql := range strings.Split(section(archive, "statements.sql"), ";\n") {
			f.Add(sql)
		}
	}
	cat := schema(f, baseline(f), fuzzSchema)
	prot := lineage.Protect(cat, masks(f, fuzzMasks))
	env := lineage.Environment{SearchPath: []string{"pg_catalog", "public"}, Database: cat.Database}
	f.Fuzz(func(t *testing.T, sql string) {
		tree, err := statement.Parse(sql, statement.Limits{MaxBytes: 1 << 16})
		if err != nil {
			return
		}
		for i := range tree.Statements {
			began := time.Now()
			analysis, refusal := lineage.Analyze(&tree.Statements[i], env, cat, prot)
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("took %v", took)
			}
			switch {
			case (analysis == nil) == (refusal == nil):
				t.Errorf("analysis %v, refusal %v", analysis, refusal)
			case refusal != nil && refusal.Code == lineage.CodeInternal:
				t.Errorf("fault: %s", refusal.Message)
			}
			lineage.Resolve(tree.Statements[i].Facts, env, cat)
		}
	})
}

// TestBounded follows statements that are made to blow up.
func TestBounded(t *testing.T) {
	cat := schema(t, baseline(t), fuzzSchema)
	prot := lineage.Protect(cat, masks(t, fuzzMasks))
	env := lineage.Environment{SearchPath: []string{"pg_catalog", "public"}, Database: cat.Database}
	tests := map[string]string{
		"doubling WITH":   doubling(40),
		"nested calls":    "SELECT " + strings.Repeat("email(", 900) + "c" + strings.Repeat(")", 900) + " FROM customers c",
		"nested unnest":   nested(200),
		"wide joins":      "SELECT * FROM customers" + strings.Repeat(" NATURAL JOIN customers", 800),
		"plain joins":     "SELECT * FROM customers a" + strings.Repeat(" CROSS JOIN customers", 2500),
		"many conditions": "SELECT 1 FROM customers WHERE " + strings.Repeat("name = 'a' AND ", 2500) + "true",
		"long IN":         "SELECT 1 FROM customers WHERE id IN (" + strings.Repeat("1,", 100_000) + "1)",
		"nested recursion": strings.Repeat("WITH RECURSIVE r (a, b, c) AS (SELECT 'x', 'y', 'z' UNION ALL SELECT b, c, (", 12) +
			"SELECT email FROM customers LIMIT 1" + strings.Repeat(") FROM r) SELECT a FROM r LIMIT 1", 12),
	}
	for name, sql := range tests {
		t.Run(name, func(t *testing.T) {
			tree, err := statement.Parse(sql, statement.Limits{})
			if err != nil {
				t.Skipf("the parser refuses it: %v", err)
			}
			began := time.Now()
			_, refusal := lineage.Analyze(&tree.Statements[0], env, cat, prot)
			if took := time.Since(began); took > 20*time.Second { // generous: machines are busy
				t.Errorf("took %v", took)
			}
			if refusal != nil && refusal.Code == lineage.CodeInternal {
				t.Errorf("fault: %s", refusal.Message)
			}
		})
	}
}

// doubling makes WITH queries of which each shows the one before twice.
func doubling(n int) string {
	var b strings.Builder
	b.WriteString("WITH q0 AS (SELECT * FROM customers)")
	name := func(i int) string { return "q" + strings.Repeat("x", i) }
	b.WriteString(", " + name(1) + " AS (SELECT * FROM q0)")
	for i := 2; i <= n; i++ {
		b.WriteString(", " + name(i) + " AS (SELECT a.*, b.* FROM " + name(i-1) + " a, " + name(i-1) + " b)")
	}
	return b.String() + " SELECT * FROM " + name(n)
}

func nested(n int) string {
	sql := "SELECT ARRAY['a']"
	for range n {
		sql = "SELECT array_agg(u) FROM unnest((" + sql + ")) u"
	}
	return sql
}

// BenchmarkAnalyze measures the analysis alone: the statements are parsed
// before, nothing is cached but what a Protection keeps of its catalog.
func BenchmarkAnalyze(b *testing.B) {
	cat := bigCatalog(b, 1000)
	prot := lineage.Protect(cat, masks(b, fuzzMasks))
	env := lineage.Environment{SearchPath: []string{"pg_catalog", "public"}, Database: cat.Database}
	for name, sql := range map[string]string{
		"plain":  "SELECT id, name, email FROM customers WHERE id = $1",
		"join":   "SELECT c.name, c.email, o.item, o.total FROM orders o JOIN customers c ON c.id = o.customer_id WHERE o.total > 10 ORDER BY o.id LIMIT 10",
		"view":   "SELECT * FROM v WHERE cid = 1",
		"report": "WITH t AS (SELECT customer_id, sum(total) AS s, count(*) AS n FROM orders GROUP BY customer_id) SELECT c.name, t.s, t.n, rank() OVER (ORDER BY t.s DESC) FROM t JOIN customers c ON c.id = t.customer_id WHERE t.n > 3",
		"insert": "INSERT INTO orders (id, customer_id, item, total) VALUES ($1, $2, $3, $4) RETURNING id",
		"refuse": "SELECT id FROM customers WHERE email = $1",
	} {
		tree, err := statement.Parse(sql, statement.Limits{})
		if err != nil {
			b.Fatal(err)
		}
		st := &tree.Statements[0]
		st.Node()
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, _ = lineage.Analyze(st, env, cat, prot)
			}
		})
	}
}

// BenchmarkProtect measures binding masks to a catalog of many tables.
func BenchmarkProtect(b *testing.B) {
	cat := bigCatalog(b, 1000)
	set := masks(b, fuzzMasks+"wild redact *.*.secret\n")
	b.ReportAllocs()
	for b.Loop() {
		lineage.Protect(cat, set)
	}
}

// bigCatalog has the tables of fuzzSchema and n others.
func bigCatalog(tb testing.TB, n int) *pgcatalog.Catalog {
	tb.Helper()
	b := schema(tb, baseline(tb), fuzzSchema).Edit()
	columns := make([]pgcatalog.Column, 20)
	for i := range columns {
		columns[i] = pgcatalog.Column{Name: "column_" + strings.Repeat("x", i), Type: 25, Modifier: -1, Number: int16(i + 1)}
	}
	for i := range n {
		oid := uint32(1_000_000 + i)
		b.AddRelation(pgcatalog.Relation{OID: oid, Schema: "public", Name: "t" + strings.Repeat("y", i%50) + string(rune('a'+i/50)), Kind: pgcatalog.RelationTable, Columns: columns})
	}
	return b.Build(1)
}
