package catalog

import (
	"flag"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/posternhq/postern/gateway/internal/pgtest"
)

var many = flag.Int("many", 5000, "load a catalog of so many tables")

// manyTables enters tables of ten columns into the system catalogs, without the
// files that would be theirs.
const manyTables = `
	CREATE TABLE model (id int, a text, b text, c text, d int, e int, f text, g timestamptz, h numeric, i text DEFAULT 'x');
	SET allow_system_table_mods = on;
	INSERT INTO pg_class SELECT n.* FROM pg_class c, generate_series(1, %[1]d) i,
		LATERAL jsonb_populate_record(c, jsonb_build_object('oid', 1000000 + i, 'relname', 'table_' || i, 'reltype', 0)) n
		WHERE c.oid = 'model'::regclass;
	INSERT INTO pg_attribute SELECT n.* FROM pg_attribute a, generate_series(1, %[1]d) i,
		LATERAL jsonb_populate_record(a, jsonb_build_object('attrelid', 1000000 + i)) n
		WHERE a.attrelid = 'model'::regclass AND a.attnum > 0;
	ANALYZE pg_class; ANALYZE pg_attribute;`

// TestManyRelations loads a catalog of many tables in the time and memory that
// allow 50,000 in ten seconds and 500 MB, and takes in a changed one without reading the others again.
func TestManyRelations(t *testing.T) {
	limit, memory := 10*time.Second*time.Duration(*many)/50_000, int64(500<<20)*int64(*many)/50_000
	cluster := pgtest.New(t)
	cluster.MustExec(t, "postgres", fmt.Sprintf(manyTables, *many))
	conn := connect(t, cluster, "postgres", "postgres")
	before := heap()
	started := time.Now()
	first, err := load(t.Context(), conn, earlier{})
	if err != nil {
		t.Fatal(err)
	}
	cat := first.builder.Build(1)
	took, used := time.Since(started), heap()-before
	t.Logf("%d relations loaded in %v, %d MB", cat.RelationCount(), took.Round(time.Millisecond), used>>20)
	if cat.RelationCount() < *many {
		t.Errorf("%d relations", cat.RelationCount())
	}
	if took > 3*limit+time.Second { // other tests take their share of the machine
		t.Errorf("it took %v", took)
	}
	if used > memory {
		t.Errorf("it takes %d MB", used>>20)
	}

	cluster.MustExec(t, "postgres", "ALTER TABLE model ADD COLUMN j int")
	started = time.Now()
	second, err := load(t.Context(), conn, earlier{catalog: cat, horizon: first.horizon})
	if err != nil {
		t.Fatal(err)
	}
	again := second.builder.Build(2)
	t.Logf("a changed one taken in within %v", time.Since(started).Round(time.Millisecond))
	if !second.partial {
		t.Error("everything was read again")
	}
	if again.RelationNamed("public", "model").ColumnNamed("j") == nil {
		t.Error("the new column is not there")
	}
	was, is := cat.RelationNamed("public", "table_7").Columns, again.RelationNamed("public", "table_7").Columns
	if &was[0] != &is[0] {
		t.Error("a table that did not change was read again")
	}
	runtime.KeepAlive(cat)
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc) //nolint:gosec // far below the limit
}
