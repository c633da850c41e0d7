package catalog

import (
	"flag"
	"strconv"
	"testing"

	"github.com/posternhq/postern/gateway/internal/sqlgen"
	"github.com/posternhq/postern/policylang/statement"
)

var randomStatements = flag.Int("random", 600, "compare this many random statements with the server")

// TestOracleRandom compares random statements, the same ones each time.
func TestOracleRandom(t *testing.T) {
	for _, version := range []int{15, 18} {
		t.Run("PostgreSQL "+strconv.Itoa(version), func(t *testing.T) { oracleRandom(t, version, *randomStatements) })
	}
}

func oracleRandom(t *testing.T, version, statements int) {
	t.Helper()
	o := newOracle(t, version)
	o.begin(t, sqlgen.Schema)
	g := sqlgen.New(uint64(version)) //nolint:gosec // small
	for range statements {
		sql := g.Statement()
		tree, err := statement.Parse(sql, statement.Limits{})
		if err != nil || len(tree.Statements) != 1 {
			t.Fatalf("%s\n%v", sql, err)
		}
		o.compare(t, &tree.Statements[0])
		if t.Failed() {
			t.FailNow()
		}
	}
	t.Logf("%d statements compared, %d refused by us %v, %d by the server", o.compared, o.refused, o.codes, o.failed)
	if o.compared < statements/3 || o.read < o.compared {
		t.Errorf("only %d of %d statements were compared, and %d columns", o.compared, statements, o.read)
	}
}
