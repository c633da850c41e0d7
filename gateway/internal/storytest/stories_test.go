package storytest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// TestStories plays the stories of examples/stories with real Terraform,
// gateways and PostgreSQL. The first one, quickstart, is the demo's (TestDemo).
func TestStories(t *testing.T) {
	t.Parallel()
	th := newTheatre(t)
	for name, play := range map[string]func(*testing.T, *stage){
		"team-module":    playTeamModule,
		"several-states": playSeveralStates,
		"leaver":         playLeaver,
		"promote":        playPromote,
		"break-glass":    playBreakGlass,
		"destroy":        playDestroy,
		"credential":     playCredential,
		"canary":         playCanary,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			play(t, th.stage(t))
		})
	}
}

// A credential from postern_token logs in, and is kept nowhere.
func playCredential(t *testing.T, s *stage) {
	d := s.gateway(t, "credential")
	host, port, err := net.SplitHostPort(d.address)
	must(t, err)
	place := fmt.Sprintf("gateway={host=%q,port=%q,ca=%q}", host, port, d.ca)
	st := s.stateOf(t, filepath.Join("testdata", "credential"), append(s.upstreamVars(), "control_url="+s.control, place)...)
	st.must(t, "apply")
	token := d.issuer.Issue(map[string]any{"sub": "u-17", "aud": "postern"}, 10*time.Minute)
	var out string
	eventually(t, "the control plane knows the policy", func() bool {
		out, err = st.terraform(t, "apply", "-var", "login=true", "-var", "id_token="+token)
		return err == nil || !strings.Contains(out, "Cannot mint a credential")
	})
	user, readErr := os.ReadFile(filepath.Join(st.dir, "session_user"))
	if err != nil || readErr != nil || strings.TrimSpace(string(user)) != "ana" {
		t.Fatalf("the session was %q's: %v, %v\n%s", user, err, readErr, out)
	}
	file, err := os.ReadFile(filepath.Join(st.dir, "terraform.tfstate"))
	must(t, err)
	if strings.Contains(string(file), "eyJ") { // as every such token begins
		t.Error("a token is in the state")
	}
}

// A canary under traffic proves a policy, or everything goes back.
func playCanary(t *testing.T, s *stage) {
	first, rest := s.gateway(t, "canary"), s.gateway(t, "rest")
	st := s.stateOf(t, filepath.Join("testdata", "canary"), s.upstreamVars()...)
	st.must(t, "apply")
	onCanary, onRest := first.session(t, "ana", "u-17"), rest.session(t, "ana", "u-17")
	allowed(t, onRest, "SELECT 1 FROM t1")

	ctx, stop := context.WithCancel(t.Context())
	asking := make(chan int)
	go func() { // clients of the canary
		denials := 0
		for ctx.Err() == nil {
			if _, err := onCanary.Exec(context.WithoutCancel(ctx), "SELECT 1 FROM t1"); err != nil {
				denials++
			}
			time.Sleep(5 * time.Millisecond) // leave something to others
		}
		asking <- denials
	}()
	wantDenials := func(some bool) {
		t.Helper()
		stop()
		if n := <-asking; n > 0 != some {
			t.Errorf("%d statements were denied on the canary", n)
		}
	}
	st.fails(t, []string{"apply", "-var", "may_read=statement.read_only && 'dba' in identity.groups"},
		`The canaries of gateway "rest" did not prove the bundle`, "What was live on the gateways of the rollout is live again.")
	wantDenials(true)
	eventually(t, "the canary is back", func() bool { _, err := onCanary.Exec(t.Context(), "SELECT 1 FROM t1"); return err == nil })
	if history := s.postern(t, "release", "list", "rest", "--control", s.control); len(strings.Split(history, "\n")) != 1 {
		t.Errorf("something was released to the rest:\n%s", history)
	}

	st.must(t, "apply", "-var", "may_read=statement.command == 'SELECT'")
	allowed(t, onRest, "SELECT 1 FROM t1")
	denied(t, onRest, "EXPLAIN SELECT 1 FROM t1")
	denied(t, onCanary, "EXPLAIN SELECT 1 FROM t1")
}

// unchanged checks that nothing is left to do.
func (st *state) unchanged(t *testing.T) {
	t.Helper()
	st.must(t, "plan", "-detailed-exitcode")
}

// holdsNoSecret checks that neither the token nor the signing key is in the
// files, nor in what Terraform shows of them.
func (st *state) holdsNoSecret(t *testing.T, files ...string) {
	t.Helper()
	shown := st.must(t, "show", "-json") + st.must(t, "show", "-json", "next.tfplan")
	for _, name := range files {
		data, err := os.ReadFile(filepath.Join(st.dir, name))
		must(t, err)
		shown += string(data)
	}
	for what, secret := range map[string]string{"API token": st.token, "signing key": st.key.Secret()} {
		if secret == "" || strings.Contains(shown, secret) {
			t.Errorf("the %s is in the state or the plan", what)
		}
	}
}

// A team's module is used twice, and neither team reaches the other's schema.
func playTeamModule(t *testing.T, s *stage) {
	d, st := s.gateway(t, "teams"), s.state(t, "team-module", s.upstreamVars()...)
	st.must(t, "get")
	st.must(t, "apply")
	st.unchanged(t)

	ana, chloe := d.session(t, "ana", "u-17"), d.session(t, "chloe", "u-21")
	allowed(t, ana, "INSERT INTO orders.items (name) VALUES ('tea pot')")
	denied(t, ana, "SELECT * FROM billing.invoices")
	allowed(t, chloe, "SELECT * FROM billing.invoices")
	denied(t, chloe, "SELECT * FROM billing.invoices JOIN orders.items USING (id)")

	// A change that breaks what the module promises never gets beyond the plan.
	rules := filepath.Join(st.dir, "modules", "team", "main.tf")
	edit(t, rules, "statement.relations.all(r, r.schema == '${var.name}')", "statement.relations.exists(r, r.schema == '${var.name}')")
	st.fails(t, []string{"plan"}, `The test "a join with another team's schema is denied" failed`, "expect.effect: want deny, got allow", "by billing.work")
}

// Several states own different rules of one gateway.
func playSeveralStates(t *testing.T, s *stage) {
	d := s.gateway(t, "shared")
	whole := s.state(t, "several-states")
	payments, support, platform := whole.within("payments"), whole.within("support"), whole.within("platform", s.upstreamVars()...)
	together(
		func() { payments.must(t, "apply") },
		func() { support.must(t, "apply") },
	)
	platform.must(t, "apply")
	ana, bo := d.session(t, "ana", "u-17"), d.session(t, "bo", "u-18")
	allowed(t, ana, "INSERT INTO payments.refunds (name) VALUES ('late')")
	denied(t, ana, "SELECT * FROM support.tickets")
	allowed(t, bo, "SELECT * FROM support.tickets")
	denied(t, bo, "SELECT * FROM payments.refunds")

	// A team's apply touches no traffic: the gateway's owner sees what it means,
	// and lets it in.
	payments.must(t, "apply", "-var", "refund_limit=10")
	wantText(t, platform.must(t, "plan"), `changes the live policy of gateway "shared"`, "~ query_rule.payments.ceiling: max_rows 1000 -> 10")

	// No state can speak for another.
	platform.fails(t, []string{"plan", "-var", `rules={"payments.everything"="statement.ddl"}`},
		"Namespaces overlap", `This bundle has query rule "payments.everything"`, "That namespace is the included bundle's.")
	support.must(t, "apply", "-var", "namespace=payments")
	platform.fails(t, []string{"plan"}, `Bundle "support" reaches out of its namespace`, `It has query rule "payments.tickets"`)
	allowed(t, bo, "SELECT * FROM support.tickets") // all the while
}

// Somebody leaves: their open session ends, in the middle of a statement.
// Terraform's token is for this gateway alone.
func playLeaver(t *testing.T, s *stage) {
	d, st := s.gateway(t, "crm"), s.state(t, "leaver", s.upstreamVars()...)
	st.token = s.postern(t, "token", "create", "terraform", "--role", "author:crm", "--control", s.control)
	st.must(t, "apply")
	ana, carl := d.session(t, "ana", "u-17"), d.session(t, "carl", "u-42")
	ended := make(chan error, 1)
	go func() {
		_, err := carl.Exec(context.WithoutCancel(t.Context()), "SELECT pg_sleep(120)")
		ended <- err
	}()
	edit(t, filepath.Join(st.dir, "people.auto.tfvars.json"), `,"carl":"u-42"`, "")
	wantText(t, st.must(t, "apply"), `changes the live policy of gateway "crm"`, "- identity.carl")
	select {
	case err := <-ended:
		var fatal *pgconn.PgError
		if !errors.As(err, &fatal) || fatal.Severity != "FATAL" {
			t.Errorf("carl's session ended with %v", err)
		}
	case <-time.After(30 * time.Second):
		t.Error("carl's session lives on after the apply")
	}
	d.refused(t, "carl", "u-42")
	allowed(t, ana, "SELECT * FROM orders.items")
	st.must(t, "plan", "-out=next.tfplan")
	st.holdsNoSecret(t, "terraform.tfstate", "terraform.tfstate.backup", "next.tfplan")
	st.must(t, "destroy")
}

// Production gets what staging runs, unless it must not.
func playPromote(t *testing.T, s *stage) {
	staging, production := s.gateway(t, "orders-staging"), s.gateway(t, "orders-production")
	whole := s.state(t, "promote")
	upstreams := "upstreams={\"orders-staging\"=" + s.upstream() + ",\"orders-production\"=" + s.upstream() + "}"
	first, second := whole.within("staging", "issuer_url="+s.issuer.URL(), upstreams), whole.within("production")
	first.must(t, "apply")
	production.refused(t, "ana", "u-17") // nothing is promoted yet
	second.must(t, "apply")
	onStaging, onProduction := staging.session(t, "ana", "u-17"), production.session(t, "ana", "u-17")
	allowed(t, onProduction, "SELECT * FROM orders.items")

	first.must(t, "apply", "-var", `allowed={read="statement.read_only",insert="statement.command == 'INSERT'"}`)
	allowed(t, onStaging, "INSERT INTO orders.items (name) VALUES ('lamp')")
	denied(t, onProduction, "INSERT INTO orders.items (name) VALUES ('lamp')")
	wantText(t, second.must(t, "apply"), `changes the live policy of gateway "orders-production"`, "+ query_rule.insert")
	allowed(t, onProduction, "INSERT INTO orders.items (name) VALUES ('lamp')")
	second.unchanged(t)

	first.must(t, "apply", "-var", `allowed={everything="true"}`)
	second.fails(t, []string{"apply"}, "lets Ana drop tables (rules: everything): it is not for production")
	denied(t, onProduction, "UPDATE orders.items SET name = 'x' WHERE id = 1")
}

// At night somebody rolls back without Terraform. The next plan says so, and
// changes nothing unasked.
func playBreakGlass(t *testing.T, s *stage) {
	d, st := s.gateway(t, "night"), s.state(t, "break-glass", s.upstreamVars()...)
	st.must(t, "apply")
	ana := d.session(t, "ana", "u-17")
	allowed(t, ana, "SELECT * FROM orders.items")
	const mistake = "may_read=statement.read_only && 'dba' in identity.groups"
	st.must(t, "apply", "-var", mistake)
	denied(t, ana, "SELECT * FROM orders.items")

	key := s.data("ops.key")
	writeFile(t, key, s.key.Secret())
	out := s.postern(t, "release", "rollback", "night", "--key", key, "--note", "nobody can work", "--control", s.control)
	good := strings.Fields(out)[1]
	allowed(t, ana, "SELECT * FROM orders.items")

	st.fails(t, []string{"plan", "-var", mistake}, `Somebody else released another bundle to gateway "night"`, "It runs bundle "+good+" at revision 3",
		`set supersedes = "`+good+`"`)
	st.fails(t, []string{"apply", "-var", mistake}, "Somebody else released another bundle")
	allowed(t, ana, "SELECT * FROM orders.items")

	// The mistake is mended: what this state describes is what runs.
	st.must(t, "apply")
	st.unchanged(t)
	// Or another policy takes the place of the one that was released at night.
	st.must(t, "apply", "-var", "may_read=statement.command == 'SELECT'", "-var", "supersedes="+good, "-var", "note=as reviewed")
	allowed(t, ana, "SELECT * FROM orders.items")
	if releases := s.postern(t, "release", "list", "night", "--control", s.control); !strings.Contains(releases, "as reviewed") || !strings.Contains(releases, "nobody can work") {
		t.Errorf("the history is\n%s", releases)
	}
}

// A gateway is taken out of service: not while it is protected, and never left
// with its last policy for ever.
func playDestroy(t *testing.T, s *stage) {
	d, st := s.gateway(t, "retired"), s.state(t, "destroy", s.upstreamVars()...)
	st.must(t, "apply")
	ana := d.session(t, "ana", "u-17")
	st.fails(t, []string{"destroy"}, `The release of gateway "retired" is protected from deletion`, "Set deletion_protection = false and apply that first.")
	allowed(t, ana, "SELECT 1")
	st.must(t, "apply", "-var", "protected=false")
	allowed(t, ana, "SELECT 1")
	st.must(t, "destroy", "-var", "protected=false")
	d.refused(t, "ana", "u-17")
	if _, err := ana.Exec(t.Context(), "SELECT 1"); err == nil {
		t.Error("ana's session lives on")
	}
}
