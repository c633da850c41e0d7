package provider_test

import (
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/terraform-plugin-go/tftypes"
	"github.com/hashicorp/terraform-plugin-testing/helper/resource"
	"github.com/hashicorp/terraform-plugin-testing/knownvalue"
	"github.com/hashicorp/terraform-plugin-testing/plancheck"
	"github.com/hashicorp/terraform-plugin-testing/tfjsonpath"

	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/provider/internal/fakecontrol"
)

// bundleOf is a bundle of one gateway and the rules, given by name and
// condition.
func bundleOf(rules map[string]any) attributes {
	objects := map[string]any{}
	for name, when := range rules {
		objects[name] = map[string]any{"when": when, "effect": "allow"}
	}
	return attributes{
		"gateways": map[string]any{"orders": map[string]any{
			"upstream": map[string]any{"host": "db.internal"},
			"issuer":   map[string]any{"corp": map[string]any{"url": "https://login.example.com", "audience": "postern"}},
		}},
		"query_rules": objects,
	}
}

func policyOf(rules map[string]string) policylang.Policy {
	p := simplePolicy("orders", "")
	p.QueryRules = nil
	for name, when := range rules {
		p.QueryRules = append(p.QueryRules, policylang.QueryRule{Name: name, When: when, Effect: policylang.EffectAllow})
	}
	return p
}

func digestOf(t *testing.T, p policylang.Policy) string {
	t.Helper()
	digest, err := p.Digest()
	must(t, err)
	return digest
}

// The digest is known at plan, the same at apply, and the digest of exactly
// what the inputs say.
func TestBundleDigest(t *testing.T) {
	l := newLab(t)
	p := l.protocol(t)
	config := bundleOf(map[string]any{"read": "statement.read_only"})
	want := digestOf(t, policyOf(map[string]string{"read": "statement.read_only"}))

	plan := p.plan("postern_bundle", nil, config)
	if got := text(t, plan.value, "digest"); got != want {
		t.Errorf("digest at plan is %s, want %s (%s)", got, want, plan.errors)
	}
	if got := text(t, plan.value, "signing_key_id"); got != l.key.PublicKey().ID() {
		t.Errorf("signing_key_id at plan is %s", got)
	}
	state := p.mustApply("postern_bundle", nil, config)
	stored, ok := l.control.Bundle(want)
	if !ok {
		t.Fatalf("bundle %s was not uploaded", want)
	}
	if diff := cmp.Diff(policyOf(map[string]string{"read": "statement.read_only"}).QueryRules[0].When, stored.QueryRules[0].When); diff != "" {
		t.Error(diff)
	}
	if again := p.mustRefresh("postern_bundle", state); !again.value.Equal(state.value) {
		t.Errorf("refresh changed the bundle:\n%s\n%s", state.value, again.value)
	}
	// Defaults that are written out are other words for the same policy.
	words := bundleOf(map[string]any{"read": "statement.read_only"})
	words["query_rules"] = map[string]any{"read": map[string]any{
		"name": "read", "when": "statement.read_only", "effect": "allow", "mode": "enforce", "message": "",
	}}
	if got := text(t, p.mustApply("postern_bundle", state, words).value, "digest"); got != want {
		t.Errorf("digest of the same policy in other words is %s", got)
	}
}

func TestBundleUnknown(t *testing.T) {
	l := newLab(t)
	p := l.protocol(t)
	known := bundleOf(map[string]any{"read": "statement.read_only"})
	state := p.mustApply("postern_bundle", nil, known)
	tests := map[string]func(attributes){
		"a map":     func(c attributes) { c["identities"] = unknown{} },
		"an object": func(c attributes) { c["query_rules"] = map[string]any{"read": unknown{}} },
		"an attribute": func(c attributes) {
			c["query_rules"] = map[string]any{"read": map[string]any{"when": unknown{}, "effect": "allow"}}
		},
		"a nested object": func(c attributes) { c["gateways"] = map[string]any{"orders": map[string]any{"upstream": unknown{}}} },
		"a set": func(c attributes) {
			c["identities"] = map[string]any{"ana": map[string]any{"kind": "human", "when": "true", "groups": unknown{}}}
		},
	}
	for name, change := range tests {
		t.Run(name, func(t *testing.T) {
			config := bundleOf(map[string]any{"read": "statement.read_only"})
			change(config)
			for _, prior := range []*resourceState{nil, state} {
				plan := p.plan("postern_bundle", prior, config)
				if plan.errors != "" || text(t, plan.value, "digest") != "?" || get(t, plan.value, "manifest").IsKnown() {
					t.Errorf("digest is %s, want it unknown (%s)", text(t, plan.value, "digest"), plan.errors)
				}
			}
		})
	}
	// What is known of an incomplete bundle is checked.
	config := bundleOf(map[string]any{"read": "statement.read_only", "bad": "nonsense"})
	config["identities"] = unknown{}
	if plan := p.plan("postern_bundle", nil, config); !strings.Contains(plan.errors, "query_rule.bad.when") {
		t.Errorf("plan: %s", plan.errors)
	}
}

// A plan never rewrites what stands in the collections: Terraform would lose
// their sensitivity.
func TestBundlePlanLeavesInputsAlone(t *testing.T) {
	p := newLab(t).protocol(t)
	config := bundleOf(map[string]any{"read": "statement.read_only"})
	plan := p.plan("postern_bundle", nil, config)
	want := p.object(p.typeOf("postern_bundle"), config)
	for _, name := range []string{"gateways", "query_rules", "identities"} {
		if !get(t, plan.value, name).Equal(get(t, want, name)) {
			t.Errorf("%s was rewritten to %s", name, get(t, plan.value, name))
		}
	}
}

// The plan fails with every problem, each on the map entry that has it.
func TestBundleProblems(t *testing.T) {
	p := newLab(t).protocol(t)
	config := bundleOf(map[string]any{
		"r1": "identity.grups == []", "r2": "statment.read_only", "r3": "1", "r4": "true &&", "r5": "session.x == 1",
	})
	rules, _ := config["query_rules"].(map[string]any)
	rules["r6"] = map[string]any{"when": "true", "effect": "hold", "approval_group": "dbas"}
	rules["r7"] = map[string]any{"effect": "allow"}
	config["approval_groups"] = map[string]any{"dba": map[string]any{"members": []string{"ben"}, "expires_in": "soon"}}
	config["masking_policies"] = map[string]any{"m": map[string]any{"columns": []string{"a.b.c.d"}, "transform": "blur"}}
	plan := p.plan("postern_bundle", nil, config)
	for _, want := range []string{
		`AttributeName("query_rules") | query_rule.r1.when: `, `Did you mean "groups"?`,
		`AttributeName("query_rules") | query_rule.r2.when: `,
		`AttributeName("query_rules") | query_rule.r3.when: `,
		`AttributeName("query_rules") | query_rule.r4.when: `,
		`AttributeName("query_rules") | query_rule.r5.when: `,
		`AttributeName("query_rules") | query_rule.r6.approval_group: `, `Did you mean "dba"?`,
		`AttributeName("query_rules") | query_rule.r7.when: when is missing`,
		`AttributeName("approval_groups") | approval_group.dba.expires_in: `,
		`AttributeName("masking_policies") | masking_policy.m.columns[0]: `,
		`AttributeName("masking_policies") | masking_policy.m.transform: `,
	} {
		if !strings.Contains(plan.errors, want) {
			t.Errorf("errors lack %s:\n%s", want, plan.errors)
		}
	}
}

// What can never have an effect is no mistake in itself: the plan warns of it,
// on the map that has it.
func TestBundleWarnings(t *testing.T) {
	p := newLab(t).protocol(t)
	config := bundleOf(map[string]any{"read": "statement.read_only", "never": "statement.read_only && !statement.read_only"})
	rules, _ := config["query_rules"].(map[string]any)
	rules["shut"] = map[string]any{"when": "statement.read_only", "effect": "deny"}
	plan := p.plan("postern_bundle", nil, config)
	if plan.errors != "" {
		t.Fatal(plan.errors)
	}
	for _, want := range []string{
		`AttributeName("query_rules") | query_rule.never.when: `, "the rule never matches",
		`AttributeName("query_rules") | query_rule.read.when: `, `"shut" denies`,
	} {
		if !strings.Contains(plan.warnings, want) {
			t.Errorf("warnings lack %s:\n%s", want, plan.warnings)
		}
	}
}

func TestBundleKeyIsTheName(t *testing.T) {
	p := newLab(t).protocol(t)
	config := bundleOf(nil)
	config["query_rules"] = map[string]any{"read": map[string]any{"name": "write", "when": "true", "effect": "allow"}}
	if plan := p.plan("postern_bundle", nil, config); !strings.Contains(plan.errors, "The key differs from the name") {
		t.Errorf("plan: %s", plan.errors)
	}
}

// A plan needs no signing key, so that a pull request can be planned without
// one. An apply does.
func TestBundleWithoutKey(t *testing.T) {
	l := newLab(t)
	config := bundleOf(map[string]any{"read": "statement.read_only"})
	state := l.protocol(t).mustApply("postern_bundle", nil, config)

	keyless := l.protocolWith(t, attributes{"endpoint": l.control.URL, "token": fakecontrol.Token})
	if plan := keyless.plan("postern_bundle", state, config); !plan.value.Equal(state.value) {
		t.Errorf("an unchanged bundle is planned as changed without the key: %s", plan.value)
	}
	changed := bundleOf(map[string]any{"read": "true"})
	plan := keyless.plan("postern_bundle", state, changed)
	if got := text(t, plan.value, "signing_key_id"); got != "?" || plan.errors != "" {
		t.Errorf("signing_key_id is %s, want it unknown (%s)", got, plan.errors)
	}
	if _, failed := keyless.applyPlan("postern_bundle", state, changed, plan); !strings.Contains(failed, "POSTERN_SIGNING_KEY") {
		t.Errorf("apply: %s", failed)
	}
}

// Another signing key means another upload of the same digest.
func TestBundleKeyRotation(t *testing.T) {
	l := newLab(t)
	config := bundleOf(map[string]any{"read": "statement.read_only"})
	state := l.protocol(t).mustApply("postern_bundle", nil, config)
	l.key = newKey(t, "next")
	p := l.protocol(t)
	state = p.mustApply("postern_bundle", state, config)
	state = p.mustRefresh("postern_bundle", state)
	if got := text(t, state.value, "signing_key_id"); got != l.key.PublicKey().ID() {
		t.Errorf("signing_key_id is %s, want the new key's", got)
	}
}

func TestBundleDisappears(t *testing.T) {
	l := newLab(t)
	p := l.protocol(t)
	state := p.mustApply("postern_bundle", nil, bundleOf(map[string]any{"read": "true"}))
	l.control.RemoveBundle(text(t, state.value, "digest"))
	if gone, failed := p.refresh("postern_bundle", state); gone != nil || failed != "" {
		t.Errorf("refresh kept the bundle (%s)", failed)
	}
}

// A token for one gateway alone may upload a bundle and not delete it: to
// destroy it leaves it there, and says so.
func TestBundleDeleteForbidden(t *testing.T) {
	l := newLab(t)
	p := l.protocol(t)
	state := p.mustApply("postern_bundle", nil, bundleOf(map[string]any{"read": "true"}))
	l.control.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodDelete {
			return false
		}
		w.WriteHeader(http.StatusForbidden)
		return true
	})
	if gone, failed := p.apply("postern_bundle", state, nil); gone != nil || failed != "" {
		t.Errorf("destroy: %s", failed)
	}
	if _, ok := l.control.Bundle(text(t, state.value, "digest")); !ok {
		t.Error("the bundle is gone")
	}
}

func TestBundleImport(t *testing.T) {
	l := newLab(t)
	digest := l.control.Publish("orders", policyOf(map[string]string{"read": "statement.read_only"}), l.other, "")
	p := l.protocol(t)
	state := p.mustRefresh("postern_bundle", &resourceState{
		value: p.object(p.typeOf("postern_bundle"), attributes{"digest": digest}),
	})
	plan := p.plan("postern_bundle", state, bundleOf(map[string]any{"read": "statement.read_only"}))
	if got := text(t, plan.value, "digest"); got != digest || plan.errors != "" {
		t.Errorf("planned digest is %s, want %s (%s)", got, digest, plan.errors)
	}
	var rules map[string]tftypes.Value
	must(t, get(t, state.value, "query_rules").As(&rules))
	if got := text(t, rules["read"], "when"); got != "statement.read_only" {
		t.Errorf("imported when is %q", got)
	}
}

const quickPolicy = `
resource "postern_gateway" "orders" {
  name     = "orders"
  upstream = { host = "db.internal" }
  issuer   = { corp = { url = "https://login.example.com", audience = "postern" } }
}

resource "terraform_data" "condition" {
  input = "CONDITION"
}

resource "postern_query_rule" "read" {
  name   = "read"
  when   = "statement.read_only"
  effect = "allow"
}

resource "postern_query_rule" "write" {
  name   = "write"
  when   = terraform_data.condition.output
  effect = "allow"
}

resource "postern_bundle" "orders" {
  gateways    = { (postern_gateway.orders.name) = postern_gateway.orders }
  query_rules = { for r in [postern_query_rule.read, postern_query_rule.write] : r.name => r }
}
`

func TestAccBundle(t *testing.T) {
	l := newLab(t)
	before := digestOf(t, policyOf(map[string]string{"read": "statement.read_only", "write": "statement.writes"}))
	after := digestOf(t, policyOf(map[string]string{"read": "statement.read_only", "write": "statement.ddl"}))
	config := func(condition string) string { return strings.ReplaceAll(quickPolicy, "CONDITION", condition) }
	digest := tfjsonpath.New("digest")
	l.accept(
		t,
		// Every problem of every object fails the plan, on the user's lines.
		resource.TestStep{
			Config:      strings.ReplaceAll(config("statement.writes"), "statement.read_only", "statement.readonly"),
			ExpectError: regexp.MustCompile(`(?s)when   = "statement\.readonly"\n.*statement\.readonly\n +\^+.*Did you mean "read_only"\?`),
		},
		// A condition that is known only after apply leaves the digest open.
		resource.TestStep{
			Config: config("statement.writes"),
			ConfigPlanChecks: resource.ConfigPlanChecks{PreApply: []plancheck.PlanCheck{
				plancheck.ExpectUnknownValue("postern_bundle.orders", digest),
				plancheck.ExpectUnknownValue("postern_query_rule.write", digest),
			}},
			Check: resource.TestCheckResourceAttr("postern_bundle.orders", "digest", before),
		},
		resource.TestStep{
			ResourceName: "postern_bundle.orders", ImportState: true, ImportStateId: before,
			ImportStateVerify: true, ImportStateVerifyIdentifierAttribute: "digest",
		},
		// Drift: the bundle was lost, and is uploaded again.
		resource.TestStep{
			PreConfig: func() { l.control.RemoveBundle(before) },
			Config:    config("statement.writes"),
			ConfigPlanChecks: resource.ConfigPlanChecks{PreApply: []plancheck.PlanCheck{
				plancheck.ExpectResourceAction("postern_bundle.orders", plancheck.ResourceActionCreate),
				plancheck.ExpectKnownValue("postern_bundle.orders", digest, knownvalue.StringExact(before)),
			}},
		},
		resource.TestStep{
			Config: config("statement.ddl"),
			Check:  resource.TestCheckResourceAttr("postern_bundle.orders", "digest", after),
		},
	)
	for _, digest := range []string{before, after} {
		if _, ok := l.control.Bundle(digest); ok != (digest == before) {
			t.Errorf("bundle %s is there: %t; the last one is deleted with its resource, older ones stay", digest, ok)
		}
	}
}

// fragment is a bundle of another state, within the namespace payments.
func fragment(names ...string) attributes {
	rules := map[string]any{}
	for _, name := range names {
		rules[name] = map[string]any{"when": "statement.read_only", "effect": "allow"}
	}
	return attributes{"query_rules": rules}
}

func TestBundleIncludes(t *testing.T) {
	l := newLab(t)
	digest := text(t, l.protocol(t).mustApply("postern_bundle", nil, fragment("payments.refunds")).value, "digest")
	p := l.protocol(t)

	config := bundleOf(map[string]any{"read": "true"})
	config["includes"] = map[string]any{"payments": digest}
	state := p.mustApply("postern_bundle", nil, config)
	whole, ok := l.control.Bundle(text(t, state.value, "digest"))
	if !ok || len(whole.QueryRules) != 2 || whole.QueryRules[0].Name != "payments.refunds" {
		t.Errorf("the bundle is %+v", whole)
	}
	if again := p.mustRefresh("postern_bundle", state); !again.value.Equal(state.value) {
		t.Errorf("refresh changed the bundle to %s", again.value)
	}

	for name, includes := range map[string]any{"a map": unknown{}, "a digest": map[string]any{"payments": unknown{}}} {
		config["includes"] = includes
		if plan := p.plan("postern_bundle", state, config); plan.errors != "" || text(t, plan.value, "digest") != "?" {
			t.Errorf("with %s unknown, the digest is %s (%s)", name, text(t, plan.value, "digest"), plan.errors)
		}
	}
}

func TestBundleIncludesRefused(t *testing.T) {
	l := newLab(t)
	p := l.protocol(t)
	upload := func(names ...string) string {
		return text(t, p.mustApply("postern_bundle", nil, fragment(names...)).value, "digest")
	}
	payments, reaching := upload("payments.refunds"), upload("payments.refunds", "everything")
	tests := []struct {
		name     string
		includes map[string]any
		own      string
		want     string
	}{
		{"an object out of its namespace", map[string]any{"payments": reaching}, "read", `It has query rule "everything", which is not named within "payments".`},
		{"an own object in another's namespace", map[string]any{"payments": payments}, "payments.read", `This bundle has query rule "payments.read"`},
		{"a namespace within another", map[string]any{"payments": payments, "payments.eu": payments}, "read", `"payments.eu" is within "payments"`},
		{"a bundle that there is not", map[string]any{"payments": "sha256:" + strings.Repeat("0", 64)}, "read", "Apply the state that uploads it first."},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			config := bundleOf(map[string]any{test.own: "true"})
			config["includes"] = test.includes
			wantError(t, p.plan("postern_bundle", nil, config).errors, `AttributeName("includes")`, test.want)
		})
	}
}
