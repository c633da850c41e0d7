package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/posternhq/postern/gateway/internal/gatewaytest"
	"github.com/posternhq/postern/gateway/internal/pgtest"
	"github.com/posternhq/postern/gateway/upstream/prepare"
	"github.com/posternhq/postern/policylang"
)

const upstreamPolicy = `gateway "app" {
  upstream {
    host = "127.0.0.1"
    tls  = "disable"
  }
}

identity "ana" {
  kind = "human"
  when = "token.sub == 'ana'"
}

identity "dba" {
  kind   = "human"
  when   = "token.sub == 'dba'"
  groups = ["dba"]
}

masking_policy "pii" {
  columns   = ["public.customers.email", "public.customers.born"]
  transform = "redact"
  unless    = "identity.in_group('dba')"
}

masking_policy "later" {
  columns   = ["public.customers.fax"]
  transform = "redact"
}

query_rule "all" {
  when   = "true"
  effect = "allow"
}
`

const upstreamSchema = `
CREATE TABLE customers (id int PRIMARY KEY, name text, email text, born date);
INSERT INTO customers VALUES (1, 'Ana', 'ana@secret.example', '1980-01-02');
CREATE TABLE orders (id int, customer int REFERENCES customers);
INSERT INTO orders VALUES (7, 1);
CREATE VIEW mails AS SELECT id, lower(email) AS mail FROM customers;
GRANT SELECT ON customers TO PUBLIC;
CREATE FUNCTION peek() RETURNS text LANGUAGE sql AS 'SELECT 1::text'`

// TestUpstream prepares a database twice, finds nothing wrong, and breaks it in
// several ways, each of which must be found.
func TestUpstream(t *testing.T) {
	for _, version := range []int{15, 18} {
		t.Run(fmt.Sprint(version), func(t *testing.T) { testUpstream(t, version) })
	}
}

func testUpstream(t *testing.T, version int) {
	t.Helper()
	cluster := pgtest.New(t, pgtest.Options{Version: version})
	cluster.MustExec(t, "postgres", "CREATE DATABASE app")
	cluster.MustExec(t, "app", upstreamSchema)
	t.Chdir(t.TempDir())
	writeFile(t, "p.postern.hcl", upstreamPolicy)
	at := " p.postern.hcl --url " + cluster.URL("app", "postgres")
	check := func() *prepare.Report {
		t.Helper()
		var r prepare.Report
		text := runLine("upstream check -o json --remember names.json" + at)
		if err := json.NewDecoder(strings.NewReader(text)).Decode(&r); err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		return &r
	}
	wants := func(r *prepare.Report, s prepare.Severity, text string) {
		t.Helper()
		for _, f := range r.Findings {
			if f.Severity == s && strings.Contains(f.Subject+": "+f.Message, text) {
				return
			}
		}
		t.Errorf("no %s finding %q among %+v", s, text, r.Findings)
	}
	policy := func(r *prepare.Report, name string) prepare.PolicyStatus {
		t.Helper()
		for _, p := range r.Policies {
			if p.Policy == name {
				return p
			}
		}
		t.Fatalf("no policy %s", name)
		return prepare.PolicyStatus{}
	}

	writeFile(t, "first.postern.hcl", strings.Replace(upstreamPolicy, "{\n    host", fmt.Sprintf("{\n    port = %d\n    host", cluster.Port), 1))
	if got := runLine("upstream prepare first.postern.hcl --grant read --database app"); !strings.Contains(got, "connect as its administrator by --url") {
		t.Errorf("before the catalog's reader exists: %s", got)
	}

	r := check()
	for _, role := range []string{"ana", "dba", "postern"} {
		wants(r, prepare.Missing, "role "+role+": the role does not exist")
	}
	wants(r, prepare.Unsafe, "without any proof (trust)")

	apply := "upstream prepare --apply --grant write --backstop --session-table" + at
	first := runOK(t, apply)
	if second := runOK(t, apply); second != first {
		t.Errorf("run again it says\n%s", second)
	}
	if err := cluster.WriteFile("pg_hba.conf", "host all postgres 127.0.0.1/32 trust\nhost all postern 127.0.0.1/32 trust\n"+
		"hostssl all +postern_clients 127.0.0.1/32 cert map=postern\nhost all +postern_clients all reject\nlocal all +postern_clients reject\n"); err != nil {
		t.Fatal(err)
	}
	cluster.MustExec(t, "postgres", "SELECT pg_reload_conf()")
	r = check()
	if !r.Clean() {
		t.Errorf("after prepare: %+v", r.Findings)
	}
	wants(r, prepare.Warning, "the policy names no column of app that exists")
	if p := policy(r, "pii"); p.Enforcement != prepare.ByDatabase || len(p.Columns) != 2 {
		t.Errorf("pii is %+v", p)
	}
	if p := policy(r, "later"); p.Enforcement != prepare.ByNobody {
		t.Errorf("later is %+v", p)
	}

	broken := []struct {
		name, sql, undo string
		severity        prepare.Severity
		finding         string
		missing         string // in the status of pii
	}{
		{"superuser", "ALTER ROLE ana BYPASSRLS", "ALTER ROLE ana NOBYPASSRLS", prepare.Unsafe, "role ana: the role is BYPASSRLS", ""},
		{"power", "GRANT pg_read_all_data TO ana", "REVOKE pg_read_all_data FROM ana", prepare.Unsafe, "member of pg_read_all_data", "ana may read public.customers.email"},
		{"another's role", "GRANT dba TO ana", "REVOKE dba FROM ana", prepare.Warning, "member of dba", "ana may read public.customers.email, born"},
		{"a grant", "GRANT SELECT ON customers TO ana", "REVOKE SELECT ON customers FROM ana; GRANT SELECT (id, name) ON customers TO ana", "", "", "ana may read public.customers.email, born"},
		{"a view", "GRANT SELECT ON mails TO ana", "REVOKE SELECT ON mails FROM ana; GRANT SELECT (id) ON mails TO ana", "", "", "ana may read public.mails.mail"},
		{"a definer", "ALTER FUNCTION peek() SECURITY DEFINER", "ALTER FUNCTION peek() SECURITY INVOKER", "", "", "ana may call peek(), which runs as its owner postgres"},
		{"no group", "REVOKE postern_clients FROM ana", "GRANT postern_clients TO ana", prepare.Missing, "no member of postern_clients", ""},
		{"renamed", "ALTER TABLE customers RENAME email TO mail", "ALTER TABLE customers RENAME mail TO email", prepare.Unsafe, "public.customers.email is public.customers.mail now", ""},
	}
	for _, b := range broken {
		cluster.MustExec(t, "app", b.sql)
		r := check()
		if b.finding != "" {
			wants(r, b.severity, b.finding)
		}
		if p := policy(r, "pii"); b.missing != "" && (p.Enforcement != prepare.ByGateway || !strings.Contains(strings.Join(p.Missing, "\n"), b.missing)) {
			t.Errorf("%s: pii is %+v", b.name, p)
		}
		cluster.MustExec(t, "app", b.undo)
	}
	if r := check(); !r.Clean() || policy(r, "pii").Enforcement != prepare.ByDatabase {
		t.Errorf("mended: %+v %+v", r.Findings, r.Policies)
	}
	throughBackstop(t, cluster)
}

// throughBackstop asks as ana, straight and through a gateway: what is masked
// does not come out either way, and SELECT * goes on working.
func throughBackstop(t *testing.T, cluster *pgtest.Cluster) {
	t.Helper()
	if err := cluster.WriteFile("pg_hba.conf", "host all all 127.0.0.1/32 trust\n"); err != nil {
		t.Fatal(err)
	}
	cluster.MustExec(t, "postgres", "SELECT pg_reload_conf()")
	file, _, problems, err := loadPolicy([]string{"p.postern.hcl"}, "")
	if err != nil || policylang.HasErrors(problems) {
		t.Fatal(err, problems)
	}
	g := gatewaytest.New(t)
	file.Policy.Gateways = []policylang.Gateway{g.Gateway(cluster.Host, cluster.Port)}
	g.Enforce(t, &file.Policy)
	for _, url := range []string{cluster.URL("app", "ana"), g.URL("app", "ana")} {
		conn, err := pgx.Connect(t.Context(), url)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close(t.Context())
		var line string
		if err := conn.QueryRow(t.Context(), "SELECT id, name, email, born FROM customers").Scan(nil, nil, &line, nil); err != nil || line != "REDACTED" {
			t.Errorf("customers: %q, %v", line, err)
		}
		rows, err := conn.Query(t.Context(), "SELECT * FROM customers JOIN orders ON customer = customers.id")
		if err != nil {
			t.Fatal(err)
		}
		for rows.Next() {
			values, err := rows.Values()
			if got := fmt.Sprint(values); err != nil || got != "[1 Ana REDACTED <nil> 7 1]" {
				t.Errorf("star: %s, %v", got, err)
			}
		}
		if err := rows.Err(); err != nil {
			t.Error(err)
		}
		if _, err := conn.Exec(t.Context(), "SELECT email FROM public.customers"); err == nil {
			t.Errorf("the table itself: %v", err)
		}
		if _, err := conn.Exec(t.Context(), "UPDATE customers SET name = 'Anna' WHERE id = 1"); err != nil {
			t.Errorf("update by the view: %v", err)
		}
		if _, err := conn.Exec(t.Context(), "UPDATE customers SET name = 'Ana' WHERE id = 1"); err != nil {
			t.Errorf("update by the view: %v", err)
		}
		var identity *string
		if err := conn.QueryRow(t.Context(), "SELECT postern.identity()").Scan(&identity); strings.Contains(url, "sslmode=disable") && (err != nil || identity != nil) {
			t.Errorf("postern.identity() is %v, %v without a session", identity, err)
		}
	}
}

// TestDiscover wants proposals that check, with names and counts and no value.
func TestDiscover(t *testing.T) {
	cluster := pgtest.New(t)
	cluster.MustExec(t, "postgres", `
		CREATE TABLE people (id int, name text, mail text, card_no bigint, tax text, notes text, "Bank Account" varchar(40), phone text, extra jsonb);
		INSERT INTO people SELECT i, 'Person ' || i, 'person' || i || '@secret.example', 4111111111111111, '123-45-' || (1000 + i),
			CASE WHEN i % 2 = 0 THEN 'wrote from p' || i || '@secret.example' ELSE 'nothing to say' END,
			'DE89370400440532013000', '+49 30 1234' || (100 + i), '{"a": 1}' FROM generate_series(1, 300) i;
		CREATE TABLE empty (email text);
		CREATE TABLE forbidden (email text)`)
	t.Chdir(t.TempDir())
	got := runOK(t, "upstream discover --rows 100 --url "+cluster.URL("postgres", "postgres"))
	for _, secret := range []string{"secret.example", "4111", "123-45", "DE89", "1234"} {
		if strings.Contains(got, secret) {
			t.Errorf("it prints %q:\n%s", secret, got)
		}
	}
	const want = `# Proposed from a sample of 3 tables. Read it before you use it.
#   public.empty.email: 0 of 0 values hold an e-mail address (low)
#   public.forbidden.email: 0 of 0 values hold an e-mail address (low)
#   public.people.mail: 100 of 100 values hold an e-mail address (high)
#   public.people.card_no: 100 of 100 values hold a card number (high)
#   public.people.tax: 100 of 100 values hold an SSN (high)
#   public.people.notes: 50 of 100 values hold an e-mail address (medium)
#   public.people."Bank Account": 100 of 100 values hold an IBAN (high)
#   public.people.phone: 100 of 100 values hold a telephone number (high)

masking_policy "discovered_card" {
  columns   = ["public.people.card_no"]
  transform = "partial"
  keep_last = 4
  format    = "card"
}

masking_policy "discovered_email" {
  columns    = ["public.people.mail"]
  transform  = "partial"
  keep_first = 1
  format     = "email"
}

masking_policy "discovered_iban" {
  columns   = ["public.people.\"Bank Account\""]
  transform = "partial"
  keep_last = 4
}

masking_policy "discovered_phone" {
  columns   = ["public.people.phone"]
  transform = "partial"
  keep_last = 2
  format    = "phone"
}

masking_policy "discovered_ssn" {
  columns   = ["public.people.tax"]
  transform = "partial"
  keep_last = 4
}

masking_policy "discovered_text" {
  columns   = ["public.people.notes"]
  transform = "redact"
}
`
	if got != want {
		t.Errorf("got:\n%s", got)
	}
	writeFile(t, "found.postern.hcl", got)
	runOK(t, "policy check found.postern.hcl")
	// Whoever may not read a table is told so, and finds the others.
	cluster.MustExec(t, "postgres", "CREATE ROLE bob LOGIN; GRANT SELECT ON people TO bob; ANALYZE people")
	got = runOK(t, "upstream discover --url "+cluster.URL("postgres", "bob"))
	if !strings.Contains(got, "# Not read: public.forbidden: SQLSTATE 42501") || !strings.Contains(got, "public.people.mail: 300 of 300") {
		t.Errorf("as bob:\n%s", got)
	}
}
