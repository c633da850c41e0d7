package gateway

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/posternhq/postern/gateway/catalog"
	"github.com/posternhq/postern/gateway/internal/pgtest"
	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/policylang/lineage"
	"github.com/posternhq/postern/policylang/pgcatalog"
	"github.com/posternhq/postern/testacc/usefulness"
)

var writeCosts = flag.Bool("costs", false, "write what a new text costs to docs/benchmarks.md")

// pgbenchTransaction is what pgbench sends for its default transaction.
var pgbenchTransaction = []string{
	"BEGIN",
	"UPDATE pgbench_accounts SET abalance = abalance + $1 WHERE aid = $2",
	"SELECT abalance FROM pgbench_accounts WHERE aid = $1",
	"UPDATE pgbench_tellers SET tbalance = tbalance + $1 WHERE tid = $2",
	"UPDATE pgbench_branches SET bbalance = bbalance + $1 WHERE bid = $2",
	"INSERT INTO pgbench_history (tid, bid, aid, delta, mtime) VALUES ($1, $2, $3, $4, CURRENT_TIMESTAMP)",
	"END",
}

// textGroup is texts of one origin.
type textGroup struct {
	name  string
	texts []*costlyText
}

// costlyText is a text, and what it cost each time.
type costlyText struct {
	sql  string
	took []time.Duration
}

// median returns what the text costs, in microseconds.
func (t *costlyText) median() float64 {
	slices.Sort(t.took)
	return float64(t.took[len(t.took)/2].Nanoseconds()) / 1000
}

// BenchmarkMaskCorpus measures what a text costs that was not seen before,
// parsing and lineage included, over what applications send: the corpus of
// testacc/usefulness, pgbench's transaction, and the queries of psql's backslash
// commands. The catalog is read from a database that has their tables and 1,000
// others. What is refused is left out, since it ends early.
func BenchmarkMaskCorpus(b *testing.B) {
	cluster := pgtest.New(b)
	cat, masks := corpusCatalog(b, cluster)
	prot := lineage.Protect(cat, masks)
	groups := corpusTexts(b, cluster)
	i := 0
	run := func(sql string) (time.Duration, error) {
		i++
		text := fmt.Sprintf("/* %09d */ %s", i, sql) // another one each time
		started := time.Now()
		g, n := costGuard(cat, masks, prot)
		err := analyseOnce(g, n, text)
		return time.Since(started), err
	}
	for g := range groups {
		groups[g].texts = slices.DeleteFunc(groups[g].texts, func(t *costlyText) bool { _, err := run(t.sql); return err != nil })
	}
	for b.Loop() {
		for g := range groups {
			for _, t := range groups[g].texts {
				d, err := run(t.sql)
				if err != nil {
					b.Fatal(err)
				}
				t.took = append(t.took, d)
			}
		}
	}
	all := textGroup{name: "**all of them**"}
	for _, g := range groups {
		all.texts = append(all.texts, g.texts...)
	}
	for _, p := range []int{50, 90, 99} {
		b.ReportMetric(all.percentile(p)*1000, fmt.Sprintf("p%d-ns", p))
	}
	if *writeCosts {
		writeCostTable(b, append(groups, all))
	}
}

// percentile returns what p of 100 texts cost at most, in microseconds.
func (g *textGroup) percentile(p int) float64 {
	medians := make([]float64, len(g.texts))
	for i, t := range g.texts {
		medians[i] = t.median()
	}
	slices.Sort(medians)
	return medians[len(medians)*p/100]
}

// corpusCatalog reads the catalog of a database with the tables of the corpus,
// pgbench's, and 1,000 of 20 columns, of which three tables have masked columns.
func corpusCatalog(b *testing.B, cluster *pgtest.Cluster) (*pgcatalog.Catalog, *policylang.MaskSet) {
	b.Helper()
	schema, err := usefulness.Schema()
	if err != nil {
		b.Fatal(err)
	}
	cluster.MustExec(b, "postgres", "CREATE DATABASE app")
	cluster.MustExec(b, "app", schema)
	cluster.MustExec(b, "app", `DO $$ BEGIN FOR i IN 0..999 LOOP
		EXECUTE format('CREATE TABLE t%s (id int, email text, phone text, %s)', i, (SELECT string_agg('c' || n || ' text', ', ') FROM generate_series(3, 19) n));
	END LOOP; END $$`)
	runTool(b, cluster, "pgbench", "-i", "-q", "-s", "1", "app")
	conn, err := pgconn.Connect(b.Context(), cluster.URL("app", "postgres"))
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close(b.Context())
	cat, err := catalog.Load(b.Context(), conn)
	if err != nil {
		b.Fatal(err)
	}
	partial := policylang.Transform{Kind: policylang.TransformPartial, KeepFirst: 1, Format: "email"}
	return cat, policylang.NewMaskSet([]policylang.Mask{
		{Policy: "contacts", Columns: []string{"public.customers.email", "public.t0.email"}, Transform: partial},
		{Policy: "phones", Columns: []string{"public.customers.phone", "public.t0.phone"}, Transform: policylang.Transform{Kind: policylang.TransformRedact}},
		{Policy: "cards", Columns: []string{"public.payments.card"}, Transform: policylang.Transform{Kind: policylang.TransformRedact}},
	})
}

// corpusTexts returns the texts by application.
func corpusTexts(b *testing.B, cluster *pgtest.Cluster) []textGroup {
	b.Helper()
	corpus, err := usefulness.Corpus()
	if err != nil {
		b.Fatal(err)
	}
	var groups []textGroup
	for _, s := range corpus {
		if len(groups) == 0 || groups[len(groups)-1].name != s.Application {
			groups = append(groups, textGroup{name: s.Application})
		}
		g := &groups[len(groups)-1]
		g.texts = append(g.texts, &costlyText{sql: s.SQL})
	}
	return append(groups, groupOf("pgbench", pgbenchTransaction), groupOf("psql's backslash commands", psqlQueries(b, cluster)))
}

func groupOf(name string, sql []string) textGroup {
	g := textGroup{name: name}
	for _, s := range sql {
		g.texts = append(g.texts, &costlyText{sql: s})
	}
	return g
}

// psqlQueries returns what psql asks for its backslash commands.
func psqlQueries(b *testing.B, cluster *pgtest.Cluster) []string {
	b.Helper()
	shown := regexp.MustCompile(`(?s)/?\*+ QUERY \*+/?\n(.*?)\n/?\*+/?\n`)
	var queries []string
	for _, command := range usefulness.Backslash() {
		for _, match := range shown.FindAllStringSubmatch(runTool(b, cluster, "psql", "-X", "-E", "-d", "app", "-c", command), -1) {
			queries = append(queries, match[1])
		}
	}
	if len(queries) < 50 {
		b.Fatalf("psql showed %d queries", len(queries))
	}
	return queries
}

func runTool(b *testing.B, cluster *pgtest.Cluster, name string, args ...string) string {
	b.Helper()
	cmd := exec.CommandContext(b.Context(), name, append([]string{"-h", cluster.Host, "-p", fmt.Sprint(cluster.Port), "-U", "postgres"}, args...)...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		b.Fatalf("%s: %v\n%s", name, err, out)
	}
	return string(out)
}

// writeCostTable replaces the table of docs/benchmarks.md.
func writeCostTable(b *testing.B, groups []textGroup) {
	b.Helper()
	var table strings.Builder
	table.WriteString("| texts of | number | p50 | p90 | p99 |\n|---|---:|---:|---:|---:|\n")
	for _, g := range groups {
		fmt.Fprintf(&table, "| %s | %d | %.0f µs | %.0f µs | %.0f µs |\n", g.name, len(g.texts), g.percentile(50), g.percentile(90), g.percentile(99))
	}
	const file, begin, end = "../docs/benchmarks.md", "<!-- begin new-texts -->\n", "<!-- end new-texts -->"
	data, err := os.ReadFile(file)
	if err != nil {
		b.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(data), begin)
	_, after, closed := strings.Cut(rest, end)
	if !ok || !closed {
		b.Fatal("docs/benchmarks.md has no place for the table")
	}
	if err := os.WriteFile(file, []byte(before+begin+table.String()+end+after), 0o644); err != nil {
		b.Fatal(err)
	}
}
