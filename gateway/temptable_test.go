package gateway_test

import (
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/posternhq/postern/policylang"
)

// TestNameOfAnotherSessionsTemporaryTable has a session make tables under the
// names that another session's temporary tables have: it goes on reading, by
// what it has made, masked as ever.
func TestNameOfAnotherSessionsTemporaryTable(t *testing.T) {
	other := must(pgx.Connect(t.Context(), shared.cluster.URL("postgres", "postgres")))(t)
	defer func() { _ = other.Close(t.Context()) }()
	if _, err := other.Exec(t.Context(), "CREATE TEMP TABLE batch (email text, id text); CREATE TEMP TABLE lasting (email text, id text)"); err != nil {
		t.Fatal(err)
	}
	onServer(t, "CREATE SCHEMA makes; GRANT ALL ON SCHEMA makes TO ana")
	t.Cleanup(func() { onServer(t, "DROP SCHEMA makes CASCADE") })
	p := testPolicy()
	p.QueryRules = append(p.QueryRules, policylang.QueryRule{Name: "makes", When: "statement.class == 'ddl'", Effect: policylang.EffectAllow})
	for name, mode := range map[string]pgx.QueryExecMode{"simple": pgx.QueryExecModeSimpleProtocol, "extended": pgx.QueryExecModeCacheDescribe} {
		t.Run(name, func(t *testing.T) {
			conn := newBench(t, p).connect("ana", func(c *pgx.ConnConfig) { c.DefaultQueryExecMode = mode })
			exec := func(sql string) {
				t.Helper()
				if _, err := conn.Exec(t.Context(), sql); err != nil {
					t.Fatalf("%s: %v", sql, err)
				}
			}
			exec("SET search_path = public, makes")
			for range 2 { // without a temporary schema of its own, and with one
				exec("BEGIN")
				exec("CREATE TEMP TABLE batch (id int, note text)")
				exec("INSERT INTO batch SELECT id, name FROM customers")
				mustServe(t, conn, "SELECT note FROM batch WHERE id = 1", "Ida")
				exec("CREATE TABLE makes.lasting (id int, note text)")
				exec("INSERT INTO lasting SELECT id, note FROM batch")
				mustServe(t, conn, "SELECT l.note FROM lasting l JOIN customers c ON c.id = l.id WHERE c.id = 1", "Ida")
				if _, err := conn.Exec(t.Context(), "SAVEPOINT s"); err != nil {
					t.Fatal(err)
				}
				if _, err := conn.Exec(t.Context(), "INSERT INTO batch SELECT id, email FROM customers"); err == nil {
					t.Error("masked values may be stored in a table of the session")
				}
				exec("ROLLBACK TO s")
				got, err := column(t.Context(), conn, "SELECT c.email FROM batch b JOIN customers c ON c.id = b.id WHERE b.id = 1")
				if err != nil || len(got) != 1 || got[0] != "***le" {
					t.Errorf("%q, %v", got, err)
				}
				exec("ROLLBACK")
			}
		})
	}
}
