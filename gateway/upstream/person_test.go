package upstream_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/posternhq/postern/gateway/internal/pgtest"
	"github.com/posternhq/postern/gateway/upstream"
	"github.com/posternhq/postern/gateway/upstream/prepare"
	"github.com/posternhq/postern/policylang"
)

// escapes are ways in which a session that was brought down from a stronger
// role climbs back. A session that logged in as its own role has nowhere to go.
var escapes = []string{
	"SET ROLE NONE",
	"SET ROLE postgres",
	"RESET ROLE",
	"SELECT set_config('role', 'postgres', false)",
	"SELECT set_config('role', 'none', false)",
	"SELECT set_config('session_authorization', 'postgres', false)",
	"DO $$ BEGIN EXECUTE 'SET ROLE postgres'; END $$",
	"DO $$ BEGIN EXECUTE 'SET ROLE NONE'; END $$",
	"SET SESSION AUTHORIZATION postgres",
	"SET SESSION AUTHORIZATION DEFAULT",
	"RESET SESSION AUTHORIZATION",
	"DO $$ BEGIN EXECUTE 'RESET SESSION AUTHORIZATION'; END $$",
	"DISCARD ALL",
	"ALTER ROLE CURRENT_USER SUPERUSER",
	"ALTER ROLE CURRENT_USER CREATEROLE",
	"ALTER ROLE CURRENT_USER BYPASSRLS",
	"CREATE ROLE mallory SUPERUSER",
	"GRANT postgres TO CURRENT_USER",
	"SET ROLE postern_clients",
}

// testEscapes tries each over a connection as the gateway makes it, with
// nothing of the gateway in between: what the gateway would refuse, PostgreSQL
// refuses too.
func (s *secured) testEscapes(t *testing.T) {
	t.Setenv("TEST_UPSTREAM_PASSWORD", "s3cret")
	for _, way := range []struct {
		role   string
		target *policylang.Upstream
		means  upstream.Means
	}{
		{"ana", s.target(policylang.LoginCertificate, ""), upstream.Means{Authority: s.authority}},
		{"shared", s.target(policylang.LoginSCRAM, "env:TEST_UPSTREAM_PASSWORD"), upstream.Means{}},
	} {
		conn, err := upstream.Connect(t.Context(), way.target, upstream.Login{Role: way.role, Database: "postgres", Means: way.means})
		if err != nil {
			t.Fatal(err)
		}
		for _, sql := range escapes {
			_, err := conn.Exec(t.Context(), sql).ReadAll() // whether it fails or does nothing
			now := one(t, conn, "SELECT concat_ws(' ', session_user, current_setting('is_superuser'), rolsuper, rolcreaterole, rolbypassrls) FROM pg_roles WHERE rolname = session_user")
			if want := way.role + " off f f f"; now != want {
				t.Errorf("as %s: after %s (%v) it is %q, want %q", way.role, sql, err, now, want)
			}
			current := one(t, conn, "SELECT current_user")
			// A member of the group may become the group in PostgreSQL 15, which has no right to anything.
			if current != way.role && current != prepare.Clients {
				t.Errorf("as %s: after %s the role is %q", way.role, sql, current)
			}
		}
		conn.Close(context.WithoutCancel(t.Context()))
	}
}

func one(t *testing.T, conn *pgconn.PgConn, sql string) string {
	t.Helper()
	results, err := conn.Exec(t.Context(), sql).ReadAll()
	if err != nil || len(results) != 1 || len(results[0].Rows) != 1 {
		t.Fatalf("%s: %v, %v", sql, results, err)
	}
	return string(results[0].Rows[0][0])
}

// TestServerSeesThePerson: session_user, row security and pgaudit, where each
// identity has a role of its own.
func TestServerSeesThePerson(t *testing.T) {
	s := newSecured(t, 15)
	s.cluster.MustExec(t, "postgres", "ALTER SYSTEM SET shared_preload_libraries = 'pgaudit'")
	s.cluster.MustExec(t, "postgres", "ALTER SYSTEM SET log_line_prefix = 'user=%u '")
	s.cluster.MustExec(t, "postgres", "ALTER SYSTEM SET log_min_messages = 'log'")
	s.cluster.Shutdown()
	if err := s.cluster.Restart(); err != nil {
		t.Fatalf("%v (pgaudit is in Debian's postgresql-15-pgaudit; testacc/setup.sh installs it)", err)
	}
	s.cluster.MustExec(t, "postgres", "ALTER SYSTEM SET pgaudit.log = 'read, write'")
	s.cluster.MustExec(t, "postgres", "SELECT pg_reload_conf()")
	s.cluster.MustExec(t, "postgres", `CREATE EXTENSION pgaudit; CREATE TABLE orders (id int, owner text);
INSERT INTO orders VALUES (1, 'ana'), (2, 'Ana Lima'), (3, 'shared'); ALTER TABLE orders ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON orders USING (owner = session_user); GRANT SELECT ON orders TO PUBLIC`)
	target, means := s.target(policylang.LoginCertificate, ""), upstream.Means{Authority: s.authority}
	for role, want := range map[string]string{"ana": "1", "Ana Lima": "2"} {
		got, err := query(t, target, upstream.Login{Role: role, Database: "postgres", Means: means}, "SELECT string_agg(id::text, ',') FROM orders")
		if err != nil || got != want {
			t.Errorf("%s sees the rows %q, %v, want %q", role, got, err, want)
		}
	}
	log, err := os.ReadFile(s.cluster.LogFile())
	if err != nil {
		t.Fatal(err)
	}
	for _, role := range []string{"ana", "Ana Lima"} {
		if want := fmt.Sprintf("user=%s LOG:  AUDIT: SESSION", role); !strings.Contains(string(log), want) {
			t.Errorf("pgaudit has no line %q", want)
		}
	}
}

// TestSessionTable has one role for several people, who are told apart by
// postern.identity().
func TestSessionTable(t *testing.T) {
	for _, version := range []int{15, 18} {
		t.Run(fmt.Sprint(version), func(t *testing.T) { testSessionTable(t, pgtest.New(t, pgtest.Options{Version: version})) })
	}
}

func testSessionTable(t *testing.T, cluster *pgtest.Cluster) {
	target := &policylang.Upstream{Host: cluster.Host, Port: cluster.Port, TLS: "disable", CatalogRole: "postern", SessionTable: true}
	dial := func() *upstream.Conn {
		t.Helper()
		conn, err := upstream.Dial(t.Context(), target, upstream.Login{Role: "shared", Database: "postgres"})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		return conn
	}
	cluster.MustExec(t, "postgres", "CREATE ROLE shared LOGIN; CREATE ROLE postern LOGIN")
	unprepared := dial()
	if err := upstream.Introduce(t.Context(), upstream.Means{}, "postgres", unprepared, upstream.Person{Identity: "ana"}); err == nil || !strings.Contains(err.Error(), "postern upstream prepare --session-table") {
		t.Errorf("without the table: %v", err)
	}
	script, err := prepare.New(prepare.Options{CatalogRole: "postern", Database: "postgres", Roles: []prepare.Role{{Name: "shared"}}, Grants: prepare.GrantNone, SessionTable: true, Method: "scram-sha-256"})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // it can be run again
		cluster.MustExec(t, "postgres", script.SQL())
	}
	cluster.MustExec(t, "postgres", `CREATE TABLE orders (id int, owner text); INSERT INTO orders VALUES (1, 'ana'), (2, 'ben'); ALTER TABLE orders ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON orders USING (owner = postern.identity()); GRANT SELECT ON orders TO shared`)
	people := map[string]*upstream.Conn{"ana": dial(), "ben": dial()}
	for name, conn := range people {
		if err := upstream.Introduce(t.Context(), upstream.Means{}, "postgres", conn, upstream.Person{Identity: name, Actor: "bot", Session: "s_" + name}); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]string{"ana": "ana 1", "ben": "ben 2"} {
		if got := simpleQuery(t, people[name], "SELECT postern.identity() || ' ' || string_agg(id::text, ',') FROM orders"); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	for _, sql := range []string{
		"INSERT INTO postern.session (pid, backend_start, identity) SELECT pg_backend_pid(), now(), 'ben'",
		"UPDATE postern.session SET identity = 'ben'", "DELETE FROM postern.session", "SELECT count(*) FROM postern.session",
		"CREATE OR REPLACE FUNCTION postern.identity() RETURNS text LANGUAGE sql AS $$ SELECT 'ben' $$",
		"ALTER FUNCTION postern.identity() OWNER TO shared",
	} {
		if got := simpleQuery(t, people["ana"], sql); got != "ERROR 42501" {
			t.Errorf("%s: got %q", sql, got)
		}
	}
	if err := upstream.Forget(t.Context(), upstream.Means{}, "postgres", people["ana"], upstream.Person{Session: "s_ana"}); err != nil {
		t.Fatal(err)
	}
	if got := simpleQuery(t, people["ana"], "SELECT coalesce(postern.identity(), 'nobody') || (SELECT count(*) FROM orders)"); got != "nobody0" {
		t.Errorf("after it was taken back it is %q", got)
	}
	_ = people["ben"].Close() // as a gateway that crashed would leave it
	wantEventually(t, "what was left behind is dropped with the next session", func() bool {
		if err := upstream.Introduce(t.Context(), upstream.Means{}, "postgres", people["ana"], upstream.Person{Identity: "ana", Session: "s_2"}); err != nil {
			t.Fatal(err)
		}
		got, err := query(t, target, upstream.Login{Role: "postern", Database: "postgres"}, "SELECT string_agg(session, ',') FROM postern.session")
		return err == nil && got == "s_2"
	})
}

// simpleQuery runs a query over a connection that upstream has handed over, and
// returns the first value or the SQLSTATE.
func simpleQuery(t *testing.T, conn *upstream.Conn, sql string) string {
	t.Helper()
	f := frontend(conn)
	return f.query(t, sql)
}
