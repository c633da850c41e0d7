package provider_test

import (
	"strings"
	"testing"

	"github.com/posternhq/postern/provider/internal/fakecontrol"
)

// tested is a bundle with a test and a schema for it.
func tested(over map[string]any) attributes {
	config := bundleOf(map[string]any{"read": "statement.read_only"})
	config["identities"] = map[string]any{"ana": map[string]any{"kind": "human", "when": "token.sub == 'u-17'"}}
	config["schemas"] = map[string]any{"shop": "create table orders (id int)"}
	test := map[string]any{
		"identity": "ana", "sql": "select * from orders", "schema": "shop",
		"session": map[string]any{"reason": "ticket 7", "tls": true},
		"expect":  map[string]any{"effect": "allow", "rules": []string{"read"}, "masked": []string{}, "max_rows": 5, "read_only": false},
	}
	for k, v := range over {
		test[k] = v
	}
	config["tests"] = map[string]any{"ana reads": test}
	return config
}

func TestBundleTestsAreAsked(t *testing.T) {
	l := newLab(t)
	p := l.protocol(t)
	var asked []fakecontrol.Question
	l.control.Decide(func(q fakecontrol.Question) []map[string]any {
		asked = append(asked, q)
		return []map[string]any{{"test": "ana reads", "passed": true}}
	})
	plain := tested(nil)
	delete(plain, "tests")
	config := tested(map[string]any{"token": `{"sub":"u-17","groups":["a"]}`})
	plan := p.plan("postern_bundle", nil, config)
	if plan.errors != "" || len(asked) != 1 {
		t.Fatalf("%d questions while planning (%s)", len(asked), plan.errors)
	}
	got := asked[0].Tests[0]
	if got.Name != "ana reads" || got.Identity != "ana" || got.SQL != "select * from orders" || got.Schema != "shop" || got.Token["sub"] != "u-17" ||
		got.Session.Reason != "ticket 7" || !got.Session.TLS || got.Expect.Effect != "allow" || len(got.Expect.Rules) != 1 ||
		got.Expect.Masked == nil || len(got.Expect.Masked) != 0 || got.Expect.Unmasked != nil || got.Expect.MaxRows != 5 ||
		got.Expect.ReadOnly == nil || *got.Expect.ReadOnly || got.Expect.RequireReason != nil {
		t.Errorf("the test became %+v", got)
	}
	if asked[0].Schemas["shop"] != "create table orders (id int)" || len(asked[0].Policy.QueryRules) != 1 {
		t.Errorf("asked %+v", asked[0])
	}
	// No digest depends on a test.
	if a, b := text(t, plan.value, "digest"), text(t, p.plan("postern_bundle", nil, plain).value, "digest"); a != b {
		t.Errorf("the digest is %s with tests and %s without", a, b)
	}
}

func TestBundleTestFails(t *testing.T) {
	l := newLab(t)
	p := l.protocol(t)
	state := p.mustApply("postern_bundle", nil, tested(nil))
	l.control.Decide(func(fakecontrol.Question) []map[string]any {
		return []map[string]any{{
			"test": "ana reads", "passed": false, "effect": "deny", "rules": []string{"no_reads"}, "message": "not at night",
			"differences": []map[string]any{{"attribute": "expect.effect", "want": "allow", "got": "deny"}},
		}}
	})
	wantError(t, p.plan("postern_bundle", nil, tested(nil)).errors,
		`AttributeName("tests") | The test "ana reads" failed`, "expect.effect: want allow, got deny", "It is decided by no_reads: deny.", "Not at night.")
	// A test that was unknown while planning is run before anything is uploaded.
	late := tested(map[string]any{"sql": unknown{}})
	for name, prior := range map[string]*resourceState{"a new bundle": nil, "the same policy": state} {
		plan := p.plan("postern_bundle", prior, late)
		if plan.errors != "" {
			t.Fatalf("%s: %s", name, plan.errors)
		}
		plan.value = withAttribute(t, plan.value, "tests", get(t, p.object(p.typeOf("postern_bundle"), tested(nil)), "tests"))
		_, failed := p.applyPlan("postern_bundle", prior, tested(nil), plan)
		wantError(t, failed, `The test "ana reads" failed`)
	}
	if _, ok := l.control.Bundle("sha256:none"); ok {
		t.Error("a bundle was uploaded")
	}
}

func TestBundleTestsRefused(t *testing.T) {
	for _, tt := range []struct {
		name string
		over map[string]any
		want []string
	}{
		{"an identity that there is not", map[string]any{"identity": "anna"}, []string{`Test "ana reads", identity: `, `Did you mean "ana"?`}},
		{"a rule that there is not", map[string]any{"expect": map[string]any{"rules": []string{"raed"}}}, []string{`expect.rules[0]: `, `Did you mean "read"?`}},
		{"nobody", map[string]any{"identity": nil}, []string{"identity is missing"}},
		{"no statement", map[string]any{"sql": nil}, []string{"sql is missing"}},
		{"nothing expected", map[string]any{"expect": nil}, []string{"expects nothing"}},
		{"a schema that there is not", map[string]any{"schema": "shopp"}, []string{`there is no schema "shopp"`, `Did you mean "shop"?`}},
		{"claims that are none", map[string]any{"token": "s3cret"}, []string{"Token is no JSON object"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := newLab(t).protocol(t).plan("postern_bundle", nil, tested(tt.over)).errors
			wantError(t, got, tt.want...)
			if strings.Contains(got, "s3cret") {
				t.Errorf("the error shows the claims: %s", got)
			}
		})
	}
}

// A control plane that cannot run tests is too old: the error names both
// versions.
func TestBundleTestsNeedANewerControlPlane(t *testing.T) {
	l := newLab(t)
	l.control.Decide(nil)
	wantError(t, l.protocol(t).plan("postern_bundle", nil, tested(nil)).errors,
		"The tests cannot be run", "postern 9.9.9", "terraform-provider-postern 0.1.0", "Upgrade the control plane.")
}
