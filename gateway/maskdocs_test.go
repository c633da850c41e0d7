package gateway_test

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/posternhq/postern/gateway/internal/gatewaytest"
	"github.com/posternhq/postern/gateway/internal/pgtest"
	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/policylang/source"
)

var writeDocs = flag.Bool("docs", false, "write what the examples of docs/masking.md answer")

// TestMaskingDocument replays the examples of docs/masking.md: blocks of sql
// make the tables, blocks of hcl are policies that are added to those before,
// and in blocks of console each line with a prompt is followed by its answer.
func TestMaskingDocument(t *testing.T) {
	const file = "../docs/masking.md"
	document, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	cluster := pgtest.New(t)
	cluster.MustExec(t, "postgres", "CREATE ROLE postern LOGIN; CREATE ROLE ana LOGIN")
	cluster.MustExec(t, "postgres", "CREATE DATABASE app")
	g := gatewaytest.New(t)
	policy := &policylang.Policy{
		Gateways:   []policylang.Gateway{g.Gateway(cluster.Host, cluster.Port)},
		Identities: []policylang.Identity{gatewaytest.Person("ana")},
		QueryRules: []policylang.QueryRule{{Name: "all", When: "true", Effect: policylang.EffectAllow}},
	}
	parts := strings.Split(string(document), "```")
	for i := 1; i < len(parts); i += 2 {
		kind, text, _ := strings.Cut(parts[i], "\n")
		if kind == "sql" {
			cluster.MustExec(t, "app", text+"; GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO PUBLIC")
		}
	}
	var conn *pgx.Conn
	for i := 1; i < len(parts); i += 2 {
		kind, text, _ := strings.Cut(parts[i], "\n")
		switch kind {
		case "hcl":
			f, problems := source.Parse("masking.md", []byte(text))
			if policylang.HasErrors(problems) {
				t.Fatal(problems)
			}
			policy.MaskingPolicies = append(policy.MaskingPolicies, f.Policy.MaskingPolicies...)
			g.Enforce(t, policy)
		case "console":
			if conn == nil {
				if conn, err = pgx.Connect(t.Context(), g.URL("app", "ana")); err != nil {
					t.Fatal(err)
				}
				defer conn.Close(t.Context())
			}
			parts[i] = "console\n" + replay(t, conn, text)
		}
	}
	got := strings.Join(parts, "```")
	if *writeDocs {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(string(document), got); diff != "" {
		t.Errorf("docs/masking.md (-says +is): go test -run MaskingDocument ./gateway -docs\n%s", diff)
	}
}

// replay runs each line of a console and puts its answer behind it.
func replay(t *testing.T, conn *pgx.Conn, console string) string {
	t.Helper()
	const prompt = "app=> "
	var out strings.Builder
	for line := range strings.Lines(console) {
		sql, ok := strings.CutPrefix(line, prompt)
		if !ok {
			continue // an earlier answer
		}
		if out.Len() > 0 {
			out.WriteByte('\n')
		}
		out.WriteString(line)
		if strings.HasPrefix(sql, "COPY") {
			_, err := conn.PgConn().CopyTo(t.Context(), &out, sql)
			writeRefusal(&out, err)
			continue
		}
		results, err := conn.PgConn().Exec(t.Context(), sql).ReadAll()
		for _, r := range results {
			for _, row := range r.Rows {
				texts := make([]string, len(row))
				for i, v := range row {
					texts[i] = string(v)
					if v == nil {
						texts[i] = "NULL"
					}
				}
				out.WriteString(strings.Join(texts, " | ") + "\n")
			}
		}
		writeRefusal(&out, err)
	}
	return out.String()
}

func writeRefusal(out *strings.Builder, err error) {
	var pg *pgconn.PgError
	if !errors.As(err, &pg) {
		if err != nil {
			fmt.Fprintln(out, err)
		}
		return
	}
	fmt.Fprintf(out, "ERROR:  %s\n", pg.Message)
	if pg.Position > 0 {
		fmt.Fprintf(out, "POSITION:  %d\n", pg.Position)
	}
	if pg.Hint != "" {
		fmt.Fprintf(out, "HINT:  %s\n", pg.Hint)
	}
}
