package gateway_test

import (
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
)

// TestRollbackAfterSearchPath rolls back, by the extended protocol, a
// transaction that failed as it set the search path: where that leads cannot be
// asked in it, and must not get in the way.
func TestRollbackAfterSearchPath(t *testing.T) {
	b := newBench(t, testPolicy())
	conn := b.connect("ben").PgConn()
	exec := func(sql string) error {
		_, err := conn.ExecParams(t.Context(), sql, nil, nil, nil, nil).Close()
		return err
	}
	fail := func() {
		t.Helper()
		if err := exec("BEGIN"); err != nil {
			t.Fatalf("BEGIN: %v", err)
		}
		for _, sql := range []string{"SELECT set_config('search_path', 'public', false), 1/0", "SELECT 1"} {
			if exec(sql) == nil {
				t.Fatalf("%s did not fail", sql)
			}
		}
	}
	fail()
	if err := exec("ROLLBACK"); err != nil {
		t.Errorf("ROLLBACK: %v", err)
	}
	if err := exec("SELECT relname FROM pg_class LIMIT 1"); err != nil {
		t.Errorf("then: %v", err)
	}
	fail() // in one batch, what follows the ROLLBACK runs by the path as it is then
	batch := &pgconn.Batch{}
	batch.ExecParams("ROLLBACK", nil, nil, nil, nil)
	batch.ExecParams("SELECT relname FROM pg_class LIMIT 1", nil, nil, nil, nil)
	results, err := conn.ExecBatch(t.Context(), batch).ReadAll()
	if err != nil || len(results) != 2 || len(results[1].Rows) == 0 {
		t.Errorf("ROLLBACK and SELECT in one batch: %d results, %v", len(results), err)
	}
}
