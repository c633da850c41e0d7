package gateway_test

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/posternhq/postern/gateway/upstream/prepare"
	"github.com/posternhq/postern/policylang"
)

// TestSharedRole has two people behind one role: the database tells them apart,
// from their first statement to their last.
func TestSharedRole(t *testing.T) {
	p := testPolicy()
	p.MaskingPolicies, p.QueryRules = nil, nil
	p.Gateways[0].DefaultEffect = policylang.EffectAllow
	p.Gateways[0].Upstream.SessionTable = true
	for i := range p.Identities {
		p.Identities[i].DatabaseRole = "ana"
	}
	b := newBench(t, p)
	_, err := pgx.ConnectConfig(t.Context(), b.config("ana", token("ben")))
	wantError(t, err, "08001", "cannot tell the database who you are")
	script, err := prepare.New(prepare.Options{CatalogRole: "postern", Database: "postgres", Roles: []prepare.Role{{Name: "ana"}}, Grants: prepare.GrantNone, SessionTable: true, Method: "scram-sha-256"})
	if err != nil {
		t.Fatal(err)
	}
	shared.cluster.MustExec(t, "postgres", script.SQL())
	t.Cleanup(func() {
		err := shared.cluster.Exec(context.Background(), "postgres", "DROP SCHEMA postern CASCADE; DROP OWNED BY postern_clients; DROP ROLE postern_clients")
		if err != nil {
			t.Error(err)
		}
	})
	as := func(who string) *pgx.Conn {
		return b.connect("ana", func(c *pgx.ConnConfig) { c.Password = token(who) })
	}
	ana, ben := as("ana"), as("ben")
	for want, conn := range map[string]*pgx.Conn{"ana": ana, "ben": ben} {
		got, err := column(t.Context(), conn, "SELECT postern.identity() || ' ' || session_user")
		if err != nil || len(got) != 1 || got[0] != want+" ana" {
			t.Errorf("%s is %q, %v", want, got, err)
		}
	}
	if err := ana.Close(t.Context()); err != nil {
		t.Error(err)
	}
	eventually(t, "who has left is no longer in the table", func() bool {
		conn := must(pgx.Connect(t.Context(), shared.cluster.URL("postgres", "postgres")))(t)
		defer conn.Close(t.Context())
		got := must(column(t.Context(), conn, "SELECT string_agg(identity, ',') FROM postern.session"))(t)
		time.Sleep(5 * time.Millisecond)
		return got[0] == "ben"
	})
}
