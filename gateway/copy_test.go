package gateway_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/posternhq/postern/gateway/internal/gatewaytest"
	"github.com/posternhq/postern/gateway/internal/pgtest"
	"github.com/posternhq/postern/policylang"
)

// TestCopyOut wants COPY TO STDOUT to be masked in each of its formats, and a
// schema that the session's own transaction has changed not to be relied on.
func TestCopyOut(t *testing.T) {
	cluster := pgtest.New(t)
	cluster.MustExec(t, "postgres", `CREATE ROLE postern LOGIN; CREATE ROLE ana LOGIN;
		CREATE TABLE people (id int, name text, email text, born date);
		INSERT INTO people VALUES (1, 'A, "b"', 'ana@secret.example', '1990-02-03'), (2, NULL, NULL, NULL);
		GRANT SELECT ON people TO ana;
		CREATE SCHEMA own AUTHORIZATION ana; CREATE TABLE own.people (id int, email text); ALTER TABLE own.people OWNER TO ana`)
	g := gatewaytest.New(t)
	g.Enforce(t, &policylang.Policy{
		Gateways:   []policylang.Gateway{g.Gateway(cluster.Host, cluster.Port)},
		Identities: []policylang.Identity{gatewaytest.Person("ana")},
		QueryRules: []policylang.QueryRule{{Name: "all", When: "true", Effect: policylang.EffectAllow}},
		MaskingPolicies: []policylang.MaskingPolicy{
			{Name: "mail", Columns: []string{"public.people.email"}, Transform: policylang.TransformPartial, KeepFirst: 1},
			{Name: "born", Columns: []string{"public.people.born"}, Transform: policylang.TransformNull},
		},
	})
	conn, err := pgconn.Connect(t.Context(), g.URL("postgres", "ana"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	run := func(sql string) (string, error) {
		var out bytes.Buffer
		_, err := conn.CopyTo(t.Context(), &out, sql)
		return out.String(), err
	}
	for _, tt := range []struct{ sql, want string }{
		{"COPY people TO STDOUT", "1\tA, \"b\"\ta***\t\\N\n2\t\\N\t\\N\t\\N\n"},
		{"COPY people (email, id) TO STDOUT", "a***\t1\n\\N\t2\n"},
		{"COPY (SELECT email FROM people ORDER BY id) TO STDOUT WITH (FORMAT csv, HEADER, NULL '-')", "email\na***\n-\n"},
		{"COPY people TO STDOUT WITH (FORMAT csv, DELIMITER '|', QUOTE '''', ESCAPE '\\', FORCE_QUOTE (email))", "1|A, \"b\"|a***|\n2|||\n"},
		{"COPY people (id, name) TO STDOUT CSV", "1,\"A, \"\"b\"\"\"\n2,\n"},
	} {
		if got, err := run(tt.sql); err != nil || got != tt.want {
			t.Errorf("%s: got %q, %v, want %q", tt.sql, got, err, tt.want)
		}
	}
	got, err := run("COPY people TO STDOUT (FORMAT binary)")
	if err != nil || strings.Contains(got, "secret") || !strings.Contains(got, "a***") {
		t.Errorf("binary: got %q, %v", got, err)
	}
	if _, err := run("COPY people TO STDOUT (ENCODING 'LATIN1')"); err == nil {
		t.Error("another encoding is served")
	}
	if _, err := conn.Exec(t.Context(), "COPY people TO STDOUT; SELECT 1").ReadAll(); err == nil {
		t.Error("COPY beside another statement is served")
	}
	for _, sql := range []string{"BEGIN", "CREATE TABLE own.fresh (id int)", "SELECT id FROM people", "ALTER TABLE own.people RENAME TO gone"} {
		if _, err := conn.Exec(t.Context(), sql).ReadAll(); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	if _, err := conn.Exec(t.Context(), "SELECT id FROM people").ReadAll(); err == nil || !strings.Contains(err.Error(), "changed the schema") {
		t.Errorf("in a transaction that changed the schema: %v", err)
	}
	for _, sql := range []string{"ROLLBACK", "SELECT id FROM people"} {
		if _, err := conn.Exec(t.Context(), sql).ReadAll(); err != nil {
			t.Errorf("%s: %v", sql, err)
		}
	}
}

// TestCopyOutFitsColumns wants what is copied out to be what SELECT shows, and to
// go into columns of the same types: COPY announces no length or precision.
func TestCopyOutFitsColumns(t *testing.T) {
	cluster := pgtest.New(t)
	cluster.MustExec(t, "postgres", `CREATE ROLE postern LOGIN; CREATE ROLE ana LOGIN;
		CREATE DOMAIN plate AS varchar(6); CREATE DOMAIN own_plate AS plate;
		CREATE TABLE accounts (code varchar(6), hashed numeric(12), rounded numeric(12, 2), free numeric, plate own_plate);
		INSERT INTO accounts VALUES ('abcdef', 1234, 9999999999.99, 12345.5, 'B-XY 1'), ('x', -1, -9999999999.99, -7, '');
		CREATE VIEW shown AS SELECT * FROM accounts;
		CREATE TABLE received (LIKE accounts); GRANT SELECT ON accounts, shown, received TO ana; GRANT INSERT ON received TO ana`)
	g := gatewaytest.New(t)
	g.Enforce(t, &policylang.Policy{
		Gateways:   []policylang.Gateway{g.Gateway(cluster.Host, cluster.Port)},
		Identities: []policylang.Identity{gatewaytest.Person("ana")},
		QueryRules: []policylang.QueryRule{{Name: "all", When: "true", Effect: policylang.EffectAllow}},
		MaskingPolicies: []policylang.MaskingPolicy{
			{Name: "code", Columns: []string{"public.accounts.code", "public.accounts.plate"}, Transform: policylang.TransformRedact},
			{Name: "hashed", Columns: []string{"public.accounts.hashed", "public.accounts.free"}, Transform: policylang.TransformHash},
			{Name: "rounded", Columns: []string{"public.accounts.rounded"}, Transform: policylang.TransformRound, Digits: -2},
		},
	})
	conn, err := pgconn.Connect(t.Context(), g.URL("postgres", "ana"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	rows := func(sql string) string {
		results, err := conn.Exec(t.Context(), sql).ReadAll()
		if err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
		return fmt.Sprintf("%q", results[0].Rows)
	}
	want := rows("SELECT * FROM accounts")
	for _, source := range []string{"accounts", "(SELECT * FROM accounts)", "(SELECT * FROM shown)"} {
		for _, format := range []string{"text", "csv", "binary"} {
			var out bytes.Buffer
			if _, err := conn.CopyTo(t.Context(), &out, "COPY "+source+" TO STDOUT (FORMAT "+format+")"); err != nil {
				t.Fatal(err)
			}
			if _, err := conn.CopyFrom(t.Context(), &out, "COPY received FROM STDIN (FORMAT "+format+")"); err != nil {
				t.Errorf("%s in %s does not go back: %v", source, format, err)
				continue
			}
			if got := rows("SELECT * FROM received"); got != want {
				t.Errorf("%s in %s: copied %s, selected %s", source, format, got, want)
			}
			cluster.MustExec(t, "postgres", "TRUNCATE received")
		}
	}
}
