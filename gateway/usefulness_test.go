package gateway_test

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/posternhq/postern/gateway/internal/gatewaytest"
	"github.com/posternhq/postern/gateway/internal/pgtest"
	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/testacc/usefulness"
)

var writeRefused = flag.Bool("refused", false, "write which statements of the usefulness corpus are refused")

// refusedFile lists the statements that are refused, each with the reason.
const refusedFile = "../testacc/usefulness/testdata/refused.txt"

func usefulGateway(t *testing.T, who ...string) (*pgtest.Cluster, *gatewaytest.Gateway) {
	t.Helper()
	cluster := pgtest.New(t)
	schema, err := usefulness.Schema()
	if err != nil {
		t.Fatal(err)
	}
	cluster.MustExec(t, "postgres", "CREATE ROLE postern LOGIN; CREATE ROLE ana LOGIN; CREATE ROLE dba SUPERUSER LOGIN")
	cluster.MustExec(t, "postgres", "CREATE DATABASE app")
	cluster.MustExec(t, "app", schema)
	bench := exec.CommandContext(t.Context(), findTool(t, cluster, "pgbench"), "-i", "-q", "-s", "1", "-h", cluster.Host, "-p", fmt.Sprint(cluster.Port), "-U", "postgres", "app")
	if out, err := bench.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	cluster.MustExec(t, "app", "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO PUBLIC")
	g := gatewaytest.New(t)
	p := &policylang.Policy{
		Gateways:   []policylang.Gateway{g.Gateway(cluster.Host, cluster.Port)},
		QueryRules: []policylang.QueryRule{{Name: "all", When: "true", Effect: policylang.EffectAllow}},
		MaskingPolicies: []policylang.MaskingPolicy{
			{Name: "contacts", Columns: []string{"public.customers.email"}, Transform: policylang.TransformPartial, Format: "email", KeepFirst: 1},
			{Name: "phones", Columns: []string{"public.customers.phone"}, Transform: policylang.TransformRedact},
			{Name: "cards", Columns: []string{"public.payments.card"}, Transform: policylang.TransformPartial, Format: "card", KeepLast: 4},
		},
	}
	for _, name := range who {
		p.Identities = append(p.Identities, gatewaytest.Person(name))
	}
	g.Enforce(t, p)
	return cluster, g
}

// TestUsefulness runs what applications send, as somebody from whom three
// columns are masked. What is refused is listed with the reason, so that a change
// of it shows; what only masked values can answer must be among it, and no
// answer has a masked value.
func TestUsefulness(t *testing.T) {
	cluster, g := usefulGateway(t, "ana")
	corpus, err := usefulness.Corpus()
	if err != nil {
		t.Fatal(err)
	}
	masked, err := pgx.Connect(t.Context(), g.URL("app", "ana"))
	if err != nil {
		t.Fatal(err)
	}
	defer masked.Close(t.Context())
	straight, err := pgx.Connect(t.Context(), cluster.URL("app", "ana"))
	if err != nil {
		t.Fatal(err)
	}
	defer straight.Close(t.Context())
	var refused strings.Builder
	for i := range corpus {
		s := &corpus[i]
		name := s.Application + "/" + s.Name
		got, err := usefulRun(t, masked, s)
		var pg *pgconn.PgError
		switch {
		case errors.As(err, &pg):
			fmt.Fprintf(&refused, "%s: %s: %s\n", name, pg.Code, pg.Message)
			if _, err := usefulRun(t, straight, s); err != nil {
				t.Errorf("%s fails at the server itself: %v", name, err)
			}
		case err != nil:
			t.Fatalf("%s: %v", name, err)
		case s.Forbidden():
			t.Errorf("%s was served", name)
		case strings.Contains(got, "c7@secret") || strings.Contains(got, "+49 30") || strings.Contains(got, "411111111111"):
			t.Errorf("%s reveals: %s", name, got)
		}
	}
	if *writeRefused {
		if err := os.WriteFile(refusedFile, []byte(refused.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(refusedFile)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), refused.String()); diff != "" {
		t.Errorf("refused (-want +got); go test -run Usefulness ./gateway -refused writes them anew\n%s", diff)
	}
	// docs/masking.md tells them to its readers.
	doc, err := os.ReadFile("../docs/masking.md")
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(doc), "<!-- begin refused -->\n")
	_, after, _ := strings.Cut(rest, "<!-- end refused -->\n")
	table := fmt.Sprintf("Of %d statements %d are refused:\n\n```\n%s```\n", len(corpus), strings.Count(refused.String(), "\n"), refused.String())
	written := before + "<!-- begin refused -->\n" + table + "<!-- end refused -->\n" + after
	if *writeRefused && ok {
		if err := os.WriteFile("../docs/masking.md", []byte(written), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if written != string(doc) {
		t.Error("docs/masking.md lists other refusals: go test -run Usefulness ./gateway -refused")
	}
}

// usefulRun runs a statement as its application would: by the extended protocol
// if it has parameters.
func usefulRun(t *testing.T, conn *pgx.Conn, s *usefulness.Statement) (string, error) {
	t.Helper()
	var out strings.Builder
	if strings.HasPrefix(s.SQL, "copy ") {
		_, err := conn.PgConn().CopyTo(t.Context(), &out, s.SQL)
		return out.String(), err
	}
	if s.Args == nil {
		results, err := conn.PgConn().Exec(t.Context(), s.SQL).ReadAll()
		for _, r := range results {
			for _, row := range r.Rows {
				fmt.Fprintf(&out, "%s\n", row)
			}
		}
		return out.String(), err
	}
	var args [][]byte
	for _, a := range s.Args {
		args = append(args, []byte(a))
	}
	r := conn.PgConn().ExecParams(t.Context(), s.SQL, args, nil, nil, nil).Read()
	for _, row := range r.Rows {
		fmt.Fprintf(&out, "%s\n", row)
	}
	return out.String(), r.Err
}

// TestTools runs psql's backslash commands and pgbench through the gateway, and
// pg_dump, which must be refused with a clear message.
func TestTools(t *testing.T) {
	cluster, g := usefulGateway(t, "ana", "dba")
	tool := func(database, who, name string, args ...string) (string, error) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), findTool(t, cluster, name), args...)
		host, port, _ := strings.Cut(g.Address, ":")
		cmd.Env = append(os.Environ(), "PGHOST="+host, "PGPORT="+port, "PGUSER="+who, "PGDATABASE="+database, "PGPASSWORD="+g.Token(who),
			"PGSSLMODE=verify-full", "PGSSLROOTCERT="+g.CAFile, "PAGER=cat", "HOME="+t.TempDir())
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	for _, command := range usefulness.Backslash() {
		if out, err := tool("app", "ana", "psql", "-X", "-v", "ON_ERROR_STOP=1", "-c", command); err != nil {
			t.Errorf("psql -c '%s': %v\n%s", command, err, out)
		}
	}
	for _, mode := range []string{"simple", "extended", "prepared"} {
		if out, err := tool("app", "ana", "pgbench", "-n", "-c", "2", "-t", "20", "-M", mode); err != nil {
			t.Errorf("pgbench -M %s: %v\n%s", mode, err, out)
		}
	}
	if out, err := tool("app", "dba", "pg_dump", "--schema-only"); err == nil || !strings.Contains(out, "masked") {
		t.Errorf("pg_dump: %v\n%s", err, out)
	} else {
		t.Logf("pg_dump says:\n%s", out)
	}
}

// findTool returns a client program: beside the server's, where that really is,
// or on PATH.
func findTool(t *testing.T, cluster *pgtest.Cluster, name string) string {
	t.Helper()
	if server, err := filepath.EvalSymlinks(filepath.Join(cluster.BinDir, "initdb")); err == nil {
		if _, err := os.Stat(filepath.Join(filepath.Dir(server), name)); err == nil {
			return filepath.Join(filepath.Dir(server), name)
		}
	}
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatal(err)
	}
	return path
}
