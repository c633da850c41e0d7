package provider_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/hashicorp/terraform-plugin-go/tfprotov6"
	"github.com/hashicorp/terraform-plugin-go/tftypes"
	"github.com/hashicorp/terraform-plugin-testing/helper/resource"
	"github.com/hashicorp/terraform-plugin-testing/knownvalue"
	"github.com/hashicorp/terraform-plugin-testing/statecheck"
	"github.com/hashicorp/terraform-plugin-testing/tfjsonpath"

	"github.com/posternhq/postern/provider/internal/fakecontrol"
)

func TestAccDataSources(t *testing.T) {
	l := newLab(t)
	digest := l.control.Publish("orders", simplePolicy("orders", "read"), l.other, "by hand")
	l.control.SetProcesses("orders", fakecontrol.Process{Name: "p1"}, fakecontrol.Process{Name: "p2", Error: "too old"})
	process := func(name, attribute string) tfjsonpath.Path {
		return tfjsonpath.New("gateways").AtMapKey("orders").AtMapKey("processes").AtMapKey(name).AtMapKey(attribute)
	}
	l.accept(
		t,
		resource.TestStep{
			Config: `
data "postern_release" "live" { gateway = "orders" }
data "postern_bundle" "live" { digest = data.postern_release.live.bundle }
data "postern_gateways" "all" {}
`,
			ConfigStateChecks: []statecheck.StateCheck{
				statecheck.ExpectKnownValue("data.postern_release.live", tfjsonpath.New("bundle"), knownvalue.StringExact(digest)),
				statecheck.ExpectKnownValue("data.postern_release.live", tfjsonpath.New("note"), knownvalue.StringExact("by hand")),
				statecheck.ExpectKnownValue("data.postern_release.live", tfjsonpath.New("revision"), knownvalue.Int64Exact(1)),
				statecheck.ExpectKnownValue("data.postern_bundle.live", tfjsonpath.New("manifest").AtMapKey("query_rule.read"), knownvalue.StringRegexp(regexp.MustCompile(`^sha256:`))),
				statecheck.ExpectKnownValue("data.postern_bundle.live", tfjsonpath.New("policy"), knownvalue.StringRegexp(regexp.MustCompile(`query_rule "read"`))),
				statecheck.ExpectKnownValue("data.postern_bundle.live", tfjsonpath.New("signing_key_id"), knownvalue.StringExact(l.other.PublicKey().ID())),
				statecheck.ExpectKnownValue("data.postern_gateways.all", process("p1", "enforces"), knownvalue.Bool(true)),
				statecheck.ExpectKnownValue("data.postern_gateways.all", process("p2", "enforces"), knownvalue.Bool(false)),
				statecheck.ExpectKnownValue("data.postern_gateways.all", process("p2", "error"), knownvalue.StringExact("too old")),
			},
		},
		resource.TestStep{
			Config:      `data "postern_release" "live" { gateway = "nothing" }`,
			ExpectError: regexp.MustCompile(`Nothing is live on the gateway`),
		},
		resource.TestStep{
			Config:      `data "postern_bundle" "gone" { digest = "sha256:0" }`,
			ExpectError: regexp.MustCompile(`There is no such bundle`),
		},
	)
}

func TestAccDecision(t *testing.T) {
	l := newLab(t)
	live := l.control.Publish("orders", simplePolicy("orders", "read"), l.other, "")
	var asked []fakecontrol.Question
	l.control.Decide(func(q fakecontrol.Question) []map[string]any {
		asked = append(asked, q)
		if q.Tests[0].Identity == "nobody" {
			return []map[string]any{{"test": "decision", "error": `no identity is named "nobody"`}}
		}
		return []map[string]any{{
			"test": "decision", "effect": "hold", "rules": []string{"ask"}, "approval_groups": []string{"dba"}, "max_rows": 7, "message": "Ask first.",
			"columns": []map[string]any{{"name": "id", "action": "pass"}, {"name": "ssn", "action": "mask"}},
		}}
	})
	config := func(over string) string {
		return `data "postern_decision" "it" {
  gateway = "orders"
  sql     = "select id, ssn from customers"
  schema  = "create table customers (id int, ssn text)"
  ` + over + `
}`
	}
	value := func(name string, want knownvalue.Check) statecheck.StateCheck {
		return statecheck.ExpectKnownValue("data.postern_decision.it", tfjsonpath.New(name), want)
	}
	names := func(name string) knownvalue.Check {
		return knownvalue.SetExact([]knownvalue.Check{knownvalue.StringExact(name)})
	}
	l.accept(
		t,
		resource.TestStep{Config: config(""), ExpectError: regexp.MustCompile(`(?s)At least one attribute out of.*identity`)},
		resource.TestStep{Config: config(`identity = "nobody"`), ExpectError: regexp.MustCompile(`(?i)no identity is named "nobody"`)},
		resource.TestStep{
			Config: config("identity = \"ana\"\ntoken = jsonencode({ sub = \"u-17\" })"),
			ConfigStateChecks: []statecheck.StateCheck{
				value("effect", knownvalue.StringExact("hold")), value("rules", names("ask")), value("approval_groups", names("dba")),
				value("masked", names("ssn")), value("max_rows", knownvalue.Int64Exact(7)), value("message", knownvalue.StringExact("Ask first.")),
				value("refused", knownvalue.StringExact("")), value("read_only", knownvalue.Bool(false)),
			},
		},
	)
	last := asked[len(asked)-1]
	if test := last.Tests[0]; last.Bundle != live || test.Gateway != "orders" || test.Token["sub"] != "u-17" || last.Schemas[test.Schema] == "" {
		t.Errorf("asked %+v", last)
	}
}

func TestAccFunctions(t *testing.T) {
	l := newLab(t)
	l.accept(t, resource.TestStep{
		Config: `
output "fine" { value = provider::postern::condition_problems("query_rule.when", "statement.read_only") }
output "wrong" { value = one(provider::postern::condition_problems("identity.when", "tokn.sub == 'x'")) }
output "matches" { value = provider::postern::column_matches("*.*.ssn", "public.customers.ssn") }
output "differs" { value = provider::postern::column_matches("public.*.email", "crm.customers.email") }
`,
		Check: resource.ComposeAggregateTestCheckFunc(
			resource.TestCheckOutput("matches", "true"),
			resource.TestCheckOutput("differs", "false"),
			resource.TestMatchOutput("wrong", regexp.MustCompile(`(?s)tokn.*\^\^\^\^`)),
		),
	})
}

func TestFunctionErrors(t *testing.T) {
	p := newLab(t).protocol(t)
	tests := []struct {
		function  string
		arguments [2]string
		want      string
	}{
		{"condition_problems", [2]string{"query_rule.unless", "true"}, `No expression is called "query_rule.unless".`},
		{"column_matches", [2]string{"a.b.c.d", "a.b.c"}, "has 4 parts"},
		{"column_matches", [2]string{"a.b.c", "b.c"}, "is not the full name of a column"},
		{"column_matches", [2]string{"a.b.c", `a."b`}, "a quote is not closed"},
	}
	for _, test := range tests {
		arguments := make([]*tfprotov6.DynamicValue, 2)
		for i, text := range test.arguments {
			arguments[i] = p.encode(tftypes.String, tftypes.NewValue(tftypes.String, text))
		}
		resp, err := p.server.CallFunction(t.Context(), &tfprotov6.CallFunctionRequest{Name: test.function, Arguments: arguments})
		must(t, err)
		if resp.Error == nil || !strings.Contains(resp.Error.Text, test.want) {
			t.Errorf("%s(%q) gave %+v, want %q", test.function, test.arguments, resp.Error, test.want)
		}
	}
}

// open opens an ephemeral resource.
func (p *protocol) open(typeName string, config attributes) (result tftypes.Value, failed string) {
	p.t.Helper()
	ty := p.schema.EphemeralResourceSchemas[typeName].ValueType()
	resp, err := p.server.OpenEphemeralResource(p.t.Context(), &tfprotov6.OpenEphemeralResourceRequest{
		TypeName: typeName, Config: p.encode(ty, p.object(ty, config)),
	})
	must(p.t, err)
	if failed := errorsOf(resp.Diagnostics); failed != "" {
		return tftypes.Value{}, failed
	}
	return p.decode(ty, resp.Result), ""
}

func TestEphemeralAPIToken(t *testing.T) {
	l := newLab(t)
	p := l.protocol(t)
	got, failed := p.open("postern_api_token", attributes{"name": "gateway of orders", "roles": []string{"gateway:orders"}, "expires_in": "10m"})
	if failed != "" || text(t, got, "token") != "pst_minted_1" {
		t.Errorf("token is %s (%s)", got, failed)
	}
	if m := l.control.Minted(); len(m) != 1 || m[0].Roles[0] != "gateway:orders" || m[0].ExpiresIn != "10m" {
		t.Errorf("minted %+v", m)
	}
}

func TestEphemeralToken(t *testing.T) {
	l := newLab(t)
	p := l.protocol(t)
	got, failed := p.open("postern_token", attributes{"gateway": "orders", "subject_token": "oidc-ana"})
	if failed != "" || text(t, got, "token") != "credential for orders" || text(t, got, "username") != "ana" || text(t, got, "subject") != "ana" ||
		text(t, got, "address") != "db.example.com:6432" || !strings.HasSuffix(text(t, got, "expires_at"), "Z") {
		t.Errorf("credential is %s (%s)", got, failed)
	}
	got, failed = p.open("postern_token", attributes{"gateway": "orders", "subject_token": "oidc-ana", "actor_token": " by robot"})
	if failed != "" || text(t, got, "subject") != "ana by robot" {
		t.Errorf("credential is %s (%s)", got, failed)
	}
	// The provider's own token is an API token here, which is nobody's.
	_, failed = p.open("postern_token", attributes{"gateway": "orders"})
	wantError(t, failed, "Cannot mint a credential for gateway orders", "the token is not accepted (get another)")
	if strings.Contains(failed, fakecontrol.Token) {
		t.Errorf("the error shows the token: %s", failed)
	}
	job := l.protocolWith(t, attributes{"endpoint": l.control.URL, "token": "oidc-orders_ci"})
	if got, failed = job.open("postern_token", attributes{"gateway": "orders"}); failed != "" || text(t, got, "username") != "orders_ci" {
		t.Errorf("credential is %s (%s)", got, failed)
	}
}
