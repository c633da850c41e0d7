package gateway_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// TestSchemaChange has somebody replace a view between two executions of a
// statement over it, sooner than the catalog is compared: the statement does not
// run by what the view was, and neither does a write, of which nothing is left.
func TestSchemaChange(t *testing.T) {
	const harmless = "CREATE OR REPLACE VIEW swapped AS SELECT name AS z FROM customers"
	const revealing = "CREATE OR REPLACE VIEW swapped AS SELECT email AS z FROM customers"
	for name, mode := range map[string]pgx.QueryExecMode{
		"simple": pgx.QueryExecModeSimpleProtocol, "extended": pgx.QueryExecModeCacheStatement, "described": pgx.QueryExecModeDescribeExec,
	} {
		t.Run(name, func(t *testing.T) {
			onServer(t, harmless+"; GRANT SELECT ON swapped TO ana; CREATE TABLE kept (t text); GRANT ALL ON kept TO ana")
			t.Cleanup(func() { onServer(t, "DROP VIEW swapped; DROP TABLE kept") })
			conn := newBench(t, testPolicy()).connect("ana", func(c *pgx.ConnConfig) { c.DefaultQueryExecMode = mode })
			overtaken := 0
			for round := range 6 {
				mustServe(t, conn, "SELECT z FROM swapped", "Ida")
				mustServe(t, conn, "SELECT z FROM swapped", "Ida")
				onServer(t, revealing)
				sql := "SELECT z FROM swapped"
				if round%2 == 1 {
					sql = "INSERT INTO kept SELECT z FROM swapped WHERE true"
				}
				got, err := column(t.Context(), conn, sql)
				if strings.Contains(fmt.Sprint(got), "secret") {
					t.Fatalf("%s shows %q", sql, got)
				}
				var pg *pgconn.PgError
				if errors.As(err, &pg) && pg.Code == "40001" {
					overtaken++
				}
				onServer(t, harmless)
				serveAgain(t, conn, "SELECT z FROM swapped", "Ida")
			}
			if overtaken == 0 && mode != pgx.QueryExecModeSimpleProtocol { // before a Query the server is asked on another connection
				t.Error("no execution was overtaken: the test tests nothing")
			}
			if got := ask(t, "SELECT count(*)::text FROM kept"); got != "0" {
				t.Errorf("%s rows were written", got)
			}
		})
	}
}

// TestSchemaChangeInTransaction wants the whole transaction undone, and the
// session to go on.
func TestSchemaChangeInTransaction(t *testing.T) {
	onServer(t, "CREATE TABLE kept (t text); GRANT ALL ON kept TO ana; CREATE TABLE moving (a int, b text); GRANT ALL ON moving TO ana")
	t.Cleanup(func() { onServer(t, "DROP TABLE kept, moving") })
	conn := newBench(t, testPolicy()).connect("ana")
	for range 10 {
		serveAgain(t, conn, "SELECT count(*)::text FROM moving", "0")
		mustServe(t, conn, "SELECT count(*)::text FROM moving", "0")
		tx := must(conn.Begin(t.Context()))(t)
		if _, err := tx.Exec(t.Context(), "INSERT INTO kept VALUES ('x')"); err != nil {
			t.Fatal(err)
		}
		onServer(t, "ALTER TABLE moving RENAME b TO c; ALTER TABLE moving RENAME c TO b")
		_, err := column(t.Context(), conn, "SELECT count(*)::text FROM moving")
		var pg *pgconn.PgError
		overtaken := errors.As(err, &pg) && pg.Code == "40001"
		if status := conn.PgConn().TxStatus(); overtaken && status != 'E' {
			t.Errorf("the transaction's status is %c", status)
		}
		_ = tx.Rollback(t.Context())
		if overtaken {
			return
		}
	}
	t.Error("no execution was overtaken: the test tests nothing")
}

// TestChecksSurvive has the session forget its prepared statements, and run in
// transactions of all kinds, pipelined ones too.
func TestChecksSurvive(t *testing.T) {
	conn := newBench(t, testPolicy()).connect("ana", func(c *pgx.ConnConfig) { c.DefaultQueryExecMode = pgx.QueryExecModeExec })
	const sql = "SELECT name AS item FROM customers WHERE id = 1"
	mustServe(t, conn, sql, "Ida")
	for _, before := range []string{
		"DISCARD ALL", "DEALLOCATE ALL", "BEGIN ISOLATION LEVEL SERIALIZABLE", "COMMIT", "BEGIN", "ROLLBACK", "BEGIN; SELECT 1",
		"SET TRANSACTION READ ONLY", "COMMIT", "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL REPEATABLE READ",
		"SET default_transaction_isolation = 'read committed'", "RESET ALL",
	} {
		for range 2 {
			if _, err := conn.Exec(t.Context(), before, pgx.QueryExecModeSimpleProtocol); err != nil && !strings.Contains(before, "TRANSACTION") {
				t.Fatalf("%s: %v", before, err)
			}
			for range 3 {
				mustServe(t, conn, sql, "Ida")
			}
		}
	}
	batch := &pgx.Batch{}
	for range 20 {
		batch.Queue(sql)
	}
	results := conn.SendBatch(t.Context(), batch)
	for range 20 {
		var item string
		if err := results.QueryRow().Scan(&item); err != nil || item != "Ida" {
			t.Fatalf("%q, %v", item, err)
		}
	}
	if err := results.Close(); err != nil {
		t.Error(err)
	}
}

// serveAgain is mustServe for a statement that may be overtaken, once.
func serveAgain(t *testing.T, conn *pgx.Conn, sql, want string) {
	t.Helper()
	if got, err := column(t.Context(), conn, sql); err == nil && len(got) > 0 && got[0] == want {
		return
	}
	mustServe(t, conn, sql, want)
}

func mustServe(t *testing.T, conn *pgx.Conn, sql, want string) {
	t.Helper()
	if got, err := column(t.Context(), conn, sql); err != nil || len(got) == 0 || got[0] != want {
		t.Fatalf("%s: %q, %v", sql, got, err)
	}
}

// onServer runs SQL straight on the server, as its superuser.
func onServer(t *testing.T, sql string) {
	t.Helper()
	if err := shared.cluster.Exec(context.WithoutCancel(t.Context()), "postgres", sql); err != nil {
		t.Fatal(err)
	}
}

// ask returns the one value of a query straight on the server.
func ask(t *testing.T, sql string) string {
	t.Helper()
	conn := must(pgx.Connect(t.Context(), shared.cluster.URL("postgres", "postgres")))(t)
	defer func() { _ = conn.Close(t.Context()) }()
	var value string
	if err := conn.QueryRow(t.Context(), sql).Scan(&value); err != nil {
		t.Fatal(err)
	}
	return value
}
