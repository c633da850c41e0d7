package catalog

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/posternhq/postern/gateway/internal/pgtest"
	"github.com/posternhq/postern/gateway/internal/sqlgen"
	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/policylang/lineage"
	"github.com/posternhq/postern/policylang/pgcatalog"
	"github.com/posternhq/postern/policylang/statement"
)

// TestTwoWorlds runs random statements on two databases that differ in nothing
// but protected values. What a masked identity gets to see of a statement that
// is let pass must be the same in both. With the masks off, it must not.
func TestTwoWorlds(t *testing.T) {
	w := newWorlds(t)
	strict := lineage.Protect(w.cat, worldMasks())
	if strict.Empty() {
		t.Fatal("nothing is protected")
	}
	g := wild(7)
	for range *randomStatements {
		sql := g.Statement()
		if diff := w.difference(t, sql, strict); diff != "" {
			t.Errorf("%s\nthe worlds differ (-first +second):\n%s", sql, diff)
		}
		if t.Failed() {
			t.FailNow()
		}
	}
	t.Logf("%d of %d statements were let pass and compared", w.compared, *randomStatements)
	if w.compared < *randomStatements/50 {
		t.Errorf("only %d of %d statements were let pass", w.compared, *randomStatements)
	}

	// The poison control: with nothing masked the same test fails at once.
	g = wild(7)
	open := lineage.Protect(w.cat, nil)
	for range *randomStatements {
		if w.difference(t, g.Statement(), open) != "" {
			return
		}
	}
	t.Error("without masks the worlds look the same: the test tests nothing")
}

func wild(seed uint64) *sqlgen.Generator {
	g := sqlgen.New(seed)
	g.Wild = true
	return g
}

func worldMasks() *policylang.MaskSet {
	deny := policylang.KnobDeny
	return policylang.NewMaskSet([]policylang.Mask{{
		Policy: "pii", Columns: sqlgen.Protected,
		Transform:  policylang.Transform{Kind: policylang.TransformRedact},
		Predicates: deny, Order: deny, Group: deny, Count: deny,
	}})
}

// worlds are the two databases.
type worlds struct {
	conns    [2]*pgconn.PgConn
	cat      *pgcatalog.Catalog // of the first; the OIDs of the second are the same
	env      lineage.Environment
	compared int
}

func newWorlds(t *testing.T) *worlds {
	t.Helper()
	cluster := pgtest.New(t, pgtest.Options{Settings: map[string]string{"autovacuum": "off"}}) // plans must not change under a comparison
	cluster.MustExec(t, "postgres", "CREATE DATABASE first")
	cluster.MustExec(t, "first", sqlgen.Schema)
	cluster.MustExec(t, "postgres", "CREATE DATABASE second TEMPLATE first")
	cluster.MustExec(t, "first", sqlgen.Rows(0))
	cluster.MustExec(t, "second", sqlgen.Rows(1))
	w := &worlds{}
	for i, name := range []string{"first", "second"} {
		w.conns[i] = connect(t, cluster, name, "postgres")
	}
	cat, err := Load(t.Context(), w.conns[0])
	if err != nil {
		t.Fatal(err)
	}
	w.cat = cat
	w.env = lineage.Environment{SearchPath: []string{"pg_catalog", "public"}, Database: "first"}
	return w
}

// difference runs a statement in both worlds and compares what is to be seen of
// it. A statement that is refused shows nothing.
func (w *worlds) difference(t *testing.T, sql string, prot *lineage.Protection) string {
	t.Helper()
	tree, err := statement.Parse(sql, statement.Limits{})
	if err != nil {
		t.Fatalf("%s\n%v", sql, err)
	}
	analysis := &lineage.Analysis{}
	if !prot.Empty() {
		a, refusal := lineage.Analyze(&tree.Statements[0], w.env, w.cat, prot)
		if refusal != nil {
			return ""
		}
		analysis = a
		w.compared++
	}
	first, second := w.seen(t, 0, sql, analysis), w.seen(t, 1, sql, analysis)
	return cmp.Diff(first, second)
}

// seen is what a client sees of a statement in a world, which it leaves as it
// was.
func (w *worlds) seen(t *testing.T, world int, sql string, analysis *lineage.Analysis) []string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	conn := w.conns[world]
	if _, err := conn.Exec(ctx, "BEGIN").ReadAll(); err != nil {
		t.Fatal(err)
	}
	results, err := conn.Exec(ctx, sql).ReadAll()
	if _, rollback := conn.Exec(ctx, "ROLLBACK").ReadAll(); rollback != nil {
		t.Fatalf("%s\n%v", sql, rollback)
	}
	var pgErr *pgconn.PgError
	switch {
	case errors.As(err, &pgErr) && analysis.Tainted:
		return []string{"error " + pgErr.Code[:2]}
	case errors.As(err, &pgErr):
		return []string{"error " + pgErr.Error() + pgErr.Detail}
	case err != nil:
		t.Fatalf("%s\n%v", sql, err)
	}
	var out []string
	for _, r := range results {
		for _, row := range r.Rows {
			out = append(out, strings.Join(masked(row, analysis.Columns), "|"))
		}
		slices.Sort(out) // the order of rows that no ORDER BY gives is not anybody's promise
		out = append(out, r.CommandTag.String())
	}
	return out
}

// masked is a row as it is shown: every value that does not pass looks alike.
func masked(row [][]byte, columns []lineage.Output) []string {
	out := make([]string, len(row))
	for i, v := range row {
		out[i] = string(v)
		if v == nil {
			out[i] = "NULL"
		}
		if i < len(columns) && columns[i].Action != lineage.Pass {
			out[i] = "masked"
		}
	}
	return out
}
