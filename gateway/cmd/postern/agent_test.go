package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/posternhq/postern/gateway/internal/demoissuer"
	"github.com/posternhq/postern/policylang"
)

// TestAgentForPerson lets an agent act for Ana: each may something that the
// other may not, so that together they may neither, and what masks one masks
// both. The evidence names the two.
func TestAgentForPerson(t *testing.T) {
	in := install(t)
	setup := "CREATE TABLE hers (id int); CREATE TABLE its (id int); CREATE TABLE theirs (id int, email text); " +
		"INSERT INTO theirs VALUES (1, 'ida@example.com'); GRANT SELECT ON hers, its, theirs TO ana"
	if err := in.cluster.Exec(t.Context(), "postgres", setup); err != nil {
		t.Fatal(err)
	}
	policy := in.policy(policylang.Identity{Name: "helper", Kind: "agent", When: `token.sub == "agent-1"`, DatabaseRole: "helper"})
	policy.QueryRules = []policylang.QueryRule{
		{Name: "people", When: `identity.kind == "human" && statement.read_only`, Effect: policylang.EffectAllow},
		{Name: "agents", When: `identity.kind == "agent" && statement.read_only`, Effect: policylang.EffectAllow},
		{Name: "not_hers", When: `identity.kind == "human" && statement.reads("public.its")`, Effect: policylang.EffectDeny},
		{Name: "not_its", When: `identity.kind == "agent" && statement.reads("public.hers")`, Effect: policylang.EffectDeny},
	}
	policy.MaskingPolicies = []policylang.MaskingPolicy{{
		Name: "emails", Columns: []string{"public.theirs.email"}, Transform: policylang.TransformRedact, Unless: `identity.kind == "human"`,
	}}
	in.release(t, policy)
	if out, err := in.signInByBrowser(t, "ana"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	token := func(sub string) string {
		file := filepath.Join(t.TempDir(), "agent.token")
		if err := os.WriteFile(file, []byte(in.issuer.Issue(map[string]any{"sub": sub, "aud": demoissuer.ClientID}, time.Minute)), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	psql := func(sql string, flags ...string) (string, error) {
		return runPostern(t.Context(), append(append([]string{"psql", "postgres"}, flags...), "--", "-X", "-A", "-t", "-c", sql)...)
	}
	agent := []string{"--actor-token-file", token("agent-1")}
	for _, c := range []struct {
		name, sql string
		flags     []string
		want      string
	}{
		{"ana herself", "SELECT count(*) FROM hers", nil, "0\n"},
		{"ana herself sees", "SELECT email FROM theirs", nil, "ida@example.com"},
		{"what the agent may not", "SELECT count(*) FROM hers", agent, "not_its"},
		{"what ana may not", "SELECT count(*) FROM its", agent, "not_hers"},
		{"what both may", "SELECT id FROM theirs", agent, "1\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if out, _ := psql(c.sql, c.flags...); !strings.Contains(out, c.want) {
				t.Errorf("got %q, want %q", out, c.want)
			}
		})
	}
	t.Run("the agent's mask", func(t *testing.T) {
		out, err := psql("SELECT email FROM theirs", agent...)
		if err != nil || strings.Contains(out, "ida@") {
			t.Errorf("%v: %q", err, out)
		}
	})
	t.Run("an agent that is not registered", func(t *testing.T) {
		_, err := psql("SELECT 1", "--actor-token-file", token("agent-2"))
		wantError(t, err, "no identity of the gateway's policy matches the subject, or none of kind agent the actor")
	})
	t.Run("evidence", func(t *testing.T) {
		out, err := runPostern(t.Context(), "evidence", "search", "--dir", filepath.Join(in.data, "postern", "evidence"), "--kind", "denied", "-o", "json")
		if err != nil || !strings.Contains(out, `"identity": "ana"`) && !strings.Contains(out, `"identity":"ana"`) || !strings.Contains(out, "helper") {
			t.Errorf("%v\n%s", err, out)
		}
	})
}
