package provider_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/terraform-plugin-go/tftypes"

	"github.com/posternhq/postern/policylang"
)

func rule(over attributes) attributes {
	out := attributes{"name": "x", "when": "statement.read_only", "effect": "allow"}
	for k, v := range over {
		out[k] = v
	}
	return out
}

// Even what is required may be unknown while Terraform validates.
func TestValidateUnknown(t *testing.T) {
	p := newLab(t).protocol(t)
	for typeName, config := range map[string]attributes{
		"postern_gateway":         {"name": unknown{}, "upstream": unknown{}, "issuer": unknown{}},
		"postern_identity":        {"name": unknown{}, "kind": unknown{}, "when": unknown{}, "groups": unknown{}},
		"postern_query_rule":      {"name": unknown{}, "when": unknown{}, "effect": unknown{}, "message": "m", "approval_group": unknown{}},
		"postern_masking_policy":  {"name": unknown{}, "columns": unknown{}, "transform": unknown{}, "keep_last": 4},
		"postern_approval_group":  {"name": unknown{}, "members": unknown{}, "required": 2},
		"postern_bundle":          {"gateways": unknown{}, "query_rules": map[string]any{"x": unknown{}}},
		"postern_release":         {"gateway": unknown{}, "bundle": unknown{}, "min_gateways": unknown{}},
		"postern_query_rule#hold": {"name": "x", "when": "true", "effect": "hold", "approval_group": unknown{}},
		"postern_gateway#issuer":  {"name": "x", "upstream": map[string]any{"host": "db"}, "issuer": map[string]any{"corp": unknown{}}},
		"postern_bundle#nested": {
			"gateways":   map[string]any{"g": map[string]any{"upstream": unknown{}, "issuer": map[string]any{"corp": unknown{}}}},
			"identities": map[string]any{"i": map[string]any{"kind": unknown{}, "when": unknown{}}},
		},
		"postern_gateway#nested": {
			"name": "x", "upstream": map[string]any{"host": unknown{}, "tls": "verify-full"},
			"issuer": map[string]any{"corp": map[string]any{"url": unknown{}, "audience": "postern"}},
		},
	} {
		name, _, _ := strings.Cut(typeName, "#")
		if got := p.validate(name, config); got != "" {
			t.Errorf("%s: unexpected errors:\n%s", typeName, got)
		}
	}
}

func TestValidate(t *testing.T) {
	tests := []struct {
		name     string
		typeName string
		config   attributes
		want     []string // parts of the errors
	}{
		{
			"a misspelt field, with an excerpt and a caret", "postern_query_rule",
			rule(attributes{"when": "'dba' in identity.grups"}),
			[]string{`AttributeName("when")`, "    'dba' in identity.grups\n             ", "^^^^^", `Did you mean "groups"?`},
		},
		{
			"an expression beside an unknown effect", "postern_query_rule",
			rule(attributes{"when": "statement.nothing", "effect": unknown{}}),
			[]string{`AttributeName("when")`, "nothing"},
		},
		{
			"the second line of an expression", "postern_query_rule",
			rule(attributes{"when": "identity.kind == 'human' &&\n\tidentity.grups == []"}),
			[]string{"      identity.grups == []"},
		},
		{
			"an effect that there is not", "postern_query_rule",
			rule(attributes{"effect": "alow"}),
			[]string{`AttributeName("effect")`, `Did you mean "allow"?`},
		},
		{
			"a hold that nobody can approve", "postern_query_rule",
			rule(attributes{"effect": "hold"}),
			[]string{`AttributeName("approval_group")`, "approval_group is missing"},
		},
		{
			"a limit where there is none", "postern_query_rule",
			rule(attributes{"max_rows": 5}),
			[]string{`AttributeName("max_rows")`, "max_rows has no meaning"},
		},
		{
			"name_from that gives no string", "postern_identity",
			attributes{"name": "x", "kind": "human", "when": "true", "name_from": "1 + 1"},
			[]string{`AttributeName("name_from")`},
		},
		{
			"a token of another kind of condition", "postern_masking_policy",
			attributes{"name": "x", "columns": []string{"a.b.c"}, "transform": "redact", "unless": "token.sub == 'x'"},
			[]string{`AttributeName("unless")`, "token"},
		},
		{
			"a pattern in a set", "postern_masking_policy",
			attributes{"name": "x", "columns": []string{"a.b.c", "a.b.c.d"}, "transform": "redact"},
			[]string{`AttributeName("columns")`, "a.b.c.d"},
		},
		{
			"a secret in place of a reference, which is not shown", "postern_gateway",
			attributes{"name": "x", "upstream": map[string]any{"host": "db", "credentials": "hunter2"}},
			[]string{`AttributeName("upstream") | upstream.credentials: `, "must be a reference"},
		},
		{
			"an issuer's address", "postern_gateway",
			attributes{
				"name": "x", "upstream": map[string]any{"host": "db"},
				"issuer": map[string]any{"corp.eu": map[string]any{"url": "http://login.example.com", "audience": "a"}},
			},
			[]string{`AttributeName("issuer") | issuer.corp.eu.url: `, "https"},
		},
		{
			"a group that is too small", "postern_approval_group",
			attributes{"name": "x", "members": []string{"ben"}, "required": 2},
			[]string{`AttributeName("required")`},
		},
		{
			"a name", "postern_approval_group",
			attributes{"name": "d b a", "members": []string{"ben"}},
			[]string{`AttributeName("name")`, "cannot be a name"},
		},
		{
			"everything at once", "postern_query_rule",
			rule(attributes{"when": "identity.a || identity.b", "effect": "deny", "mode": "off", "max_rows": 5, "hold_mode": "retry"}),
			[]string{`"a"`, `"b"`, "mode", "max_rows", "hold_mode"},
		},
		{
			"what on_drift may be", "postern_release",
			attributes{"gateway": "g", "bundle": "sha256:0", "on_drift": "ignore"},
			[]string{`AttributeName("on_drift")`, "ignore"},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			p := newLab(t).protocol(t)
			got := p.validate(test.typeName, test.config)
			for _, want := range test.want {
				if !strings.Contains(got, want) {
					t.Errorf("errors lack %q:\n%s", want, got)
				}
			}
			if strings.Contains(got, "hunter2") {
				t.Errorf("errors show the secret:\n%s", got)
			}
		})
	}
}

// Definition and digest are known at plan unless an input is unknown, and the
// same at apply.
func TestPlanDigest(t *testing.T) {
	l := newLab(t)
	p := l.protocol(t)
	want, err := policylang.Definition(&policylang.QueryRule{Name: "x", When: "statement.read_only", Effect: "allow"})
	must(t, err)

	plan := p.plan("postern_query_rule", nil, rule(nil))
	if got := text(t, plan.value, "definition"); got != string(want) {
		t.Errorf("definition at plan is %s, want %s", got, want)
	}
	state := p.mustApply("postern_query_rule", nil, rule(nil))
	if got := text(t, state.value, "digest"); got != policylang.DigestBytes(want) {
		t.Errorf("digest at apply is %s", got)
	}

	for _, over := range []attributes{{"when": unknown{}}, {"message": unknown{}}, {"mode": unknown{}}, {"name": unknown{}}} {
		plan := p.plan("postern_query_rule", nil, rule(over))
		if got := text(t, plan.value, "digest"); got != "?" || plan.errors != "" {
			t.Errorf("with %v the digest is %s, want it unknown (%s)", over, got, plan.errors)
		}
	}
	// An unknown input makes a digest unknown that was known before.
	if got := text(t, p.plan("postern_query_rule", state, rule(attributes{"when": unknown{}})).value, "digest"); got != "?" {
		t.Errorf("digest is %s, want it unknown", got)
	}
}

// What was unknown while validating is checked once it is known.
func TestPlanChecksWhatBecameKnown(t *testing.T) {
	l := newLab(t)
	p := l.protocol(t)
	plan := p.plan("postern_query_rule", nil, rule(attributes{"when": "nonsense"}))
	if !strings.Contains(plan.errors, `AttributeName("when")`) {
		t.Errorf("plan: %s", plan.errors)
	}
	// Unknown until apply: checked there, and nothing is written.
	open := p.plan("postern_query_rule", nil, rule(attributes{"when": unknown{}}))
	open.value = p.propose("postern_query_rule", tftypes.NewValue(p.typeOf("postern_query_rule"), nil),
		p.object(p.typeOf("postern_query_rule"), rule(attributes{"when": "nonsense", "mode": "enforce"})))
	_, failed := p.applyPlan("postern_query_rule", nil, rule(attributes{"when": "nonsense"}), open)
	if !strings.Contains(failed, `AttributeName("when")`) || l.control.Object(policylang.KindQueryRule, "x") != nil {
		t.Errorf("apply: %s", failed)
	}
}

// The control plane echoes "" for what was left out, and a refresh shows no
// difference, whichever way it was written.
func TestRefreshKeepsWords(t *testing.T) {
	configs := map[string]attributes{
		"left out":   {"name": "x", "kind": "human", "when": "true"},
		"empty":      {"name": "x", "kind": "human", "when": "true", "database_role": "", "name_from": "", "groups": []string{}},
		"unsorted":   {"name": "x", "kind": "human", "when": "true", "groups": []string{"b", "a"}},
		"everything": {"name": "x", "kind": "human", "when": "true", "database_role": "r", "name_from": "token.sub", "groups_from": "token.g", "groups": []string{"a"}},
	}
	for name, config := range configs {
		t.Run(name, func(t *testing.T) {
			p := newLab(t).protocol(t)
			state := p.mustApply("postern_identity", nil, config)
			again := p.mustRefresh("postern_identity", state)
			if !again.value.Equal(state.value) {
				t.Errorf("refresh changed\n%s\nto\n%s", state.value, again.value)
			}
			if plan := p.plan("postern_identity", again, config); !plan.value.Equal(again.value) {
				t.Errorf("plan after refresh is not empty:\n%s\n%s", again.value, plan.value)
			}
		})
	}
}

// On drift only what differs is shown, and what differs is shown whole.
func TestRefreshShowsDrift(t *testing.T) {
	l := newLab(t)
	p := l.protocol(t)
	state := p.mustApply("postern_query_rule", nil, rule(attributes{"message": ""}))
	l.control.PutObject(&policylang.QueryRule{
		Name: "x", When: "statement.read_only", Effect: "hold", ApprovalGroup: "dba", Mode: policylang.ModeObserve,
	})
	state = p.mustRefresh("postern_query_rule", state)
	want := map[string]string{
		"when": "statement.read_only", "effect": "hold", "approval_group": "dba", "mode": "observe",
		"message": "", "hold_mode": "wait", "statement_timeout": "-",
	}
	// hold_mode is at its default now, but was written out before: "" differs.
	want["hold_mode"] = "-"
	got := map[string]string{}
	for name := range want {
		got[name] = text(t, state.value, name)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("state after drift (-want +got):\n%s", diff)
	}
}

// What the canonical encoding leaves out at its default drifts like the rest.
func TestRefreshShowsThatSomethingIsGone(t *testing.T) {
	l := newLab(t)
	p := l.protocol(t)
	config := attributes{"name": "x", "columns": []string{"*.*.ssn"}, "detect": []string{"card"}, "transform": "redact"}
	state := p.mustApply("postern_masking_policy", nil, config)
	l.control.PutObject(&policylang.MaskingPolicy{Name: "x", Columns: []string{"*.*.ssn"}, Transform: policylang.TransformRedact})
	if state = p.mustRefresh("postern_masking_policy", state); !get(t, state.value, "detect").IsNull() {
		t.Errorf("detect is %s after somebody removed it", get(t, state.value, "detect"))
	}
	plan := p.plan("postern_masking_policy", state, config)
	if get(t, plan.value, "detect").IsNull() {
		t.Error("the plan does not bring it back")
	}
}

func TestUpdateLeavesOthersChangesAlone(t *testing.T) {
	l := newLab(t)
	p := l.protocol(t)
	state := p.mustApply("postern_query_rule", nil, rule(nil))
	l.control.PutObject(&policylang.QueryRule{Name: "x", When: "false", Effect: "deny"})
	_, failed := p.apply("postern_query_rule", state, rule(attributes{"when": "true"}))
	if !strings.Contains(failed, "was changed by somebody else") {
		t.Errorf("apply: %s", failed)
	}
	l.control.RemoveObject(policylang.KindQueryRule, "x")
	_, failed = p.apply("postern_query_rule", state, rule(attributes{"when": "true"}))
	if !strings.Contains(failed, "is gone") {
		t.Errorf("apply: %s", failed)
	}
}

func TestCreateRefusesWhatExists(t *testing.T) {
	l := newLab(t)
	p := l.protocol(t)
	l.control.PutObject(&policylang.QueryRule{Name: "x", When: "false", Effect: "deny"})
	_, failed := p.apply("postern_query_rule", nil, rule(nil))
	if !strings.Contains(failed, "terraform import postern_query_rule.<name> x") {
		t.Errorf("apply: %s", failed)
	}
}

// An apply that is interrupted may have made what no state remembers.
func TestCreateTakesOverWhatIsTheSame(t *testing.T) {
	l := newLab(t)
	p := l.protocol(t)
	p.mustApply("postern_query_rule", nil, rule(nil))
	state := p.mustApply("postern_query_rule", nil, rule(nil))
	if plan := p.plan("postern_query_rule", state, rule(nil)); !plan.value.Equal(state.value) {
		t.Errorf("a plan after that is not empty: %s", plan.value)
	}
	if _, failed := p.apply("postern_query_rule", state, rule(attributes{"when": "true"})); failed != "" {
		t.Errorf("what was taken over cannot be changed: %s", failed)
	}
}

func TestDeleteOfWhatIsGoneSucceeds(t *testing.T) {
	l := newLab(t)
	p := l.protocol(t)
	state := p.mustApply("postern_query_rule", nil, rule(nil))
	l.control.RemoveObject(policylang.KindQueryRule, "x")
	if _, failed := p.apply("postern_query_rule", state, nil); failed != "" {
		t.Errorf("delete: %s", failed)
	}
}

func TestVersionMismatchNamesBoth(t *testing.T) {
	l := newLab(t)
	l.control.SetAPI(2)
	p := l.protocol(t)
	_, failed := p.apply("postern_query_rule", nil, rule(nil))
	for _, want := range []string{"terraform-provider-postern 0.1.0", "postern 9.9.9", "Upgrade the provider."} {
		if !strings.Contains(failed, want) {
			t.Errorf("error lacks %q: %s", want, failed)
		}
	}
}

func TestTokenIsInNoError(t *testing.T) {
	l := newLab(t)
	p := l.protocolWith(t, attributes{"endpoint": l.control.URL, "token": "pst_wrong"})
	_, failed := p.apply("postern_query_rule", nil, rule(nil))
	if !strings.Contains(failed, "401") || strings.Contains(failed, "pst_wrong") {
		t.Errorf("error is %s", failed)
	}
}

func TestControlPlaneAwayForAMoment(t *testing.T) {
	l := newLab(t)
	p := l.protocol(t)
	state := p.mustApply("postern_query_rule", nil, rule(nil))
	refusals := 2
	l.control.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
		if refusals == 0 {
			return false
		}
		refusals--
		w.WriteHeader(http.StatusServiceUnavailable)
		return true
	})
	p.mustRefresh("postern_query_rule", state)
}

func TestConfigure(t *testing.T) {
	l := newLab(t)
	tests := []struct {
		name   string
		config attributes
		want   string // part of the error; empty for none
	}{
		{"by environment", attributes{"env:POSTERN_ENDPOINT": "https://postern.example.com", "env:POSTERN_TOKEN": "t", "env:POSTERN_SIGNING_KEY": l.key.Secret()}, ""},
		{"no endpoint", attributes{"token": "t"}, "POSTERN_ENDPOINT"},
		{"no token", attributes{"endpoint": "https://postern.example.com"}, "POSTERN_TOKEN"},
		{"in the clear", attributes{"endpoint": "http://postern.example.com", "token": "t"}, "must be https"},
		{"no URL", attributes{"endpoint": "postern.example.com", "token": "t"}, "not a URL"},
		{"a password in the URL", attributes{"endpoint": "https://u:p@postern.example.com", "token": "t"}, "must not hold a user name or password"},
		{"no such file", attributes{"endpoint": "https://postern.example.com", "token": "t", "ca_file": "/nowhere/ca.pem"}, "/nowhere/ca.pem"},
		{"no certificate", attributes{"endpoint": "https://postern.example.com", "token": "t", "ca_pem": "x"}, "no certificate"},
		{"no key", attributes{"endpoint": "https://postern.example.com", "token": "t", "signing_key": "postern-private-key+x+y+c2VjcmV0"}, "private key"},
		{"a public key", attributes{"endpoint": "https://postern.example.com", "token": "t", "signing_key": l.key.PublicKey().String()}, "this is a public key"},
		{"unknown", attributes{"endpoint": unknown{}, "token": unknown{}, "signing_key": unknown{}, "ca_pem": unknown{}}, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, diags := startProtocol(t, test.config)
			got := errorsOf(diags)
			if test.want == "" && got != "" || !strings.Contains(got, test.want) || strings.Contains(got, "c2VjcmV0") {
				t.Errorf("errors are %q, want %q", got, test.want)
			}
		})
	}
}

// Before the provider is configured, plans are made as far as they go.
func TestPlanWithUnknownProvider(t *testing.T) {
	l := newLab(t)
	p := l.protocolWith(t, attributes{"endpoint": unknown{}, "token": "t", "signing_key": unknown{}})
	if plan := p.plan("postern_query_rule", nil, rule(nil)); plan.errors != "" || !strings.HasPrefix(text(t, plan.value, "digest"), "sha256:") {
		t.Errorf("plan: %s", plan.errors)
	}
	plan := p.plan("postern_release", nil, attributes{"gateway": "orders", "bundle": "sha256:" + strings.Repeat("0", 64)})
	if plan.errors != "" || text(t, plan.value, "predecessor") != "?" {
		t.Errorf("plan: %s", plan.errors)
	}
	_, failed := p.applyPlan("postern_release", nil, attributes{"gateway": "orders", "bundle": "sha256:0"}, plan)
	if !strings.Contains(failed, "not configured yet") {
		t.Errorf("apply: %s", failed)
	}
}
