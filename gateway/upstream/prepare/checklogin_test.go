package prepare_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/posternhq/postern/gateway/internal/pgtest"
	"github.com/posternhq/postern/gateway/upstream/prepare"
	"github.com/posternhq/postern/policylang/pgcatalog"
)

// TestCheckLogin finds what the two ways of telling people apart lack, and
// nothing of that once the database is prepared.
func TestCheckLogin(t *testing.T) {
	cluster := pgtest.New(t)
	o := prepare.Options{
		CatalogRole: "postern", Database: "postgres", Roles: []prepare.Role{{Name: "ana"}}, Grants: prepare.GrantNone, Method: "cert", SessionTable: true, Catalog: &pgcatalog.Catalog{},
	}
	conn, err := pgconn.Connect(t.Context(), cluster.URL("postgres", "postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	found := func(subject, text string) bool {
		t.Helper()
		report, err := prepare.Check(t.Context(), conn, o, nil)
		if err != nil {
			t.Fatal(err)
		}
		return slices.ContainsFunc(report.Findings, func(f prepare.Finding) bool {
			return f.Subject == subject && strings.Contains(f.Message, text) && f.Fix != ""
		})
	}
	for subject, text := range map[string]string{
		"postgresql.conf": "asks for no certificates", "pg_hba.conf": "by certificate", "pg_ident.conf": "is not there", "postern.session": "no session can start",
	} {
		if !found(subject, text) {
			t.Errorf("it does not find that of %s: %s", subject, text)
		}
	}
	script, err := prepare.New(o)
	if err != nil {
		t.Fatal(err)
	}
	cluster.MustExec(t, "postgres", script.SQL())
	if found("postern.session", "") || found("role postern", "may not write") || found("role ana", "pass for anybody") {
		t.Error("it finds fault with what prepare made")
	}
	cluster.MustExec(t, "postgres", "GRANT INSERT ON postern.session TO ana; REVOKE DELETE ON postern.session FROM postern; ALTER FUNCTION postern.identity() SECURITY INVOKER")
	for subject, text := range map[string]string{"role ana": "pass for anybody", "role postern": "may not write", "postern.identity()": "SECURITY DEFINER"} {
		if !found(subject, text) {
			t.Errorf("it does not find that of %s: %s", subject, text)
		}
	}
	for text, unsafe := range map[string]bool{strings.Join(script.Ident, "\n"): false, `postern /^.*$ postgres`: true, `postern mallory ana`: true} {
		if err := cluster.WriteFile("pg_ident.conf", text+"\n"); err != nil {
			t.Fatal(err)
		}
		if got := found("pg_ident.conf", "in as"); got != unsafe || found("pg_ident.conf", "is not there") {
			t.Errorf("pg_ident.conf with %q: it is found unsafe: %t, want %t", text, got, unsafe)
		}
	}
}
