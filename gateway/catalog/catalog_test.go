package catalog

import (
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/posternhq/postern/gateway/internal/pgtest"
)

func connect(tb testing.TB, c *pgtest.Cluster, database, role string) *pgconn.PgConn {
	tb.Helper()
	conn, err := pgconn.Connect(tb.Context(), c.URL(database, role))
	if err != nil {
		tb.Fatalf("connect: %v", err)
	}
	tb.Cleanup(func() { _ = conn.Close(tb.Context()) })
	return conn
}

func TestLoadX(t *testing.T) {
	c := pgtest.New(t)
	conn := connect(t, c, "postgres", "postgres")
	start := time.Now()
	cat, err := Load(t.Context(), conn)
	if err != nil {
		t.Fatal(err)
	}
	t.Log(time.Since(start), cat.RelationCount(), len(cat.FunctionsNamed("pg_catalog", "lower")))
	f := cat.FunctionsNamed("pg_catalog", "json_each")[0]
	t.Logf("%+v", f)
	t.Logf("%+v", cat.RelationNamed("pg_catalog", "pg_policies"))
}
