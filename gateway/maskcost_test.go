package gateway

import (
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/policylang/lineage"
	"github.com/posternhq/postern/policylang/pgcatalog"
	"github.com/posternhq/postern/policylang/scenario"
	"github.com/posternhq/postern/policylang/statement"
)

// costCatalog is a database of 1,000 tables of 20 columns, of which two of the
// first are masked.
func costCatalog(tb testing.TB) (*pgcatalog.Catalog, *policylang.MaskSet) {
	tb.Helper()
	base, err := scenario.Baseline()
	if err != nil {
		tb.Fatal(err)
	}
	b := base.Edit()
	for i := range 1000 {
		columns := []pgcatalog.Column{{Name: "id", Type: 23, Modifier: -1, Number: 1}, {Name: "email", Type: 25, Modifier: -1, Number: 2}, {Name: "phone", Type: 25, Modifier: -1, Number: 3}}
		for n := len(columns); n < 20; n++ {
			columns = append(columns, pgcatalog.Column{Name: fmt.Sprintf("c%d", n), Type: 25, Modifier: -1, Number: int16(n + 1)})
		}
		b.AddRelation(pgcatalog.Relation{OID: uint32(1_000_000 + i), Schema: "public", Name: fmt.Sprintf("t%d", i), Kind: pgcatalog.RelationTable, Columns: columns})
	}
	return b.Build(1), policylang.NewMaskSet([]policylang.Mask{{
		Policy: "pii", Columns: []string{"public.t0.email", "public.t0.phone"}, Transform: policylang.Transform{Kind: policylang.TransformRedact},
	}})
}

var costStatements = map[string]string{
	"select": "SELECT id, email, c5 FROM t0 WHERE id = $1",
	"join":   "SELECT a.id, a.email, b.c4 FROM t0 a JOIN t1 b ON b.id = a.id WHERE b.c5 = $1 ORDER BY a.id LIMIT 10",
	"report": "WITH m AS (SELECT c3, count(*) AS n FROM t2 GROUP BY c3) SELECT a.id, a.email, m.n, sum(m.n) OVER (ORDER BY a.id) FROM t0 a JOIN m ON m.c3 = a.c3 WHERE m.n > 3",
	"update": "UPDATE t0 SET c5 = $1 WHERE id = $2 RETURNING id, email",
}

// BenchmarkMaskStatement measures what masking adds to a statement: nothing of
// its text seen before (parsing included), and seen before. `make bench-mask`
// runs it. Nobody but the catalog's reader and the server is left out.
func BenchmarkMaskStatement(b *testing.B) {
	cat, masks := costCatalog(b)
	prot := lineage.Protect(cat, masks)
	for name, sql := range costStatements {
		b.Run("uncached/"+name, func(b *testing.B) {
			var took []time.Duration
			for i := 0; b.Loop(); i++ {
				// A comment makes each text another one, as long as the others.
				text := fmt.Sprintf("/* %09d */ %s", i, sql)
				started := time.Now()
				g, n := costGuard(cat, masks, prot)
				if r := analyseOnce(g, n, text); r != nil {
					b.Fatal(r)
				}
				took = append(took, time.Since(started))
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Nanoseconds()), "p50-ns")
		})
		b.Run("cached/"+name, func(b *testing.B) {
			g, n := costGuard(cat, masks, prot)
			b.ReportAllocs()
			for b.Loop() {
				if r := analyseOnce(g, n, sql); r != nil {
					b.Fatal(r)
				}
			}
		})
	}
}

func costGuard(cat *pgcatalog.Catalog, masks *policylang.MaskSet, prot *lineage.Protection) (*guard, *names) {
	s := &session{server: &Server{statements: statement.NewCache(100, statement.Limits{})}, info: &policylang.Session{Database: "app"}, log: slog.Default()}
	return newGuard(s, []string{"pg_catalog", "public"}), &names{catalog: cat, masks: masks, protection: prot}
}

// analyseOnce is the part of a statement's way that masking adds: its tree, its
// names and its columns.
func analyseOnce(g *guard, n *names, sql string) error {
	text, r := g.Read(sql)
	if r != nil {
		return r
	}
	k, ok := text.Statements[0].Data.(*known)
	if !ok {
		return fmt.Errorf("%q is not known", sql)
	}
	g.analyses.reset(n)
	n.resolve(g, k)
	if _, r := n.analysis(g, k); r != nil {
		return r
	}
	return nil
}
