package policylang_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/posternhq/postern/policylang"
)

// The golden files of package source show the wording and the positions of
// every problem. Here is what only the model can hold, and what the paths are.
func TestValidate(t *testing.T) {
	tests := []struct {
		name   string
		policy policylang.Policy
		want   []string // path: summary
	}{
		{"empty", policylang.Policy{}, nil},
		{"example", examplePolicy(), []string{
			`approval_group.dba.members[0]: no identity is named "chloe"`,
			`approval_group.dba.members[1]: no identity is named "ben"`,
			`masking_policy.pii.columns[2]: "a.b.c" stands in columns twice`,
		}},
		{
			"duplicate objects",
			policylang.Policy{QueryRules: []policylang.QueryRule{
				{Name: "a", When: "true", Effect: policylang.EffectAllow},
				{Name: "b", When: "true", Effect: policylang.EffectAllow},
				{Name: "a", When: "false", Effect: policylang.EffectDeny},
			}},
			[]string{`query_rule.a: two objects are named query_rule "a"`},
		},
		{
			"same name, other kind",
			policylang.Policy{
				QueryRules: []policylang.QueryRule{{Name: "a", When: "true", Effect: policylang.EffectAllow}},
				Identities: []policylang.Identity{{Name: "a", Kind: "human", When: "true"}},
			},
			nil,
		},
		{
			"names",
			policylang.Policy{Identities: []policylang.Identity{
				{Name: "", Kind: "human", When: "true"},
				{Name: "a/b", Kind: "human", When: "true"},
				{Name: "-a", Kind: "human", When: "true"},
				{Name: strings.Repeat("a", 128), Kind: "human", When: "true"},
				{Name: "a.b-c_d9", Kind: "human", When: "true"},
			}},
			[]string{
				"identity.: the identity has no name",
				`identity.a/b: "a/b" cannot be a name`,
				`identity.-a: "-a" cannot be a name`,
			},
		},
		{
			"text that is not text",
			policylang.Policy{QueryRules: []policylang.QueryRule{{Name: "a", When: "\xff", Effect: policylang.EffectDeny, Message: "a\x00"}}},
			[]string{
				"query_rule.a.when: when is not valid UTF-8 text",
				"query_rule.a.message: message is not valid UTF-8 text",
			},
		},
		{
			"duplicate issuers",
			policylang.Policy{Gateways: []policylang.Gateway{{Name: "g", Upstream: policylang.Upstream{Host: "db"}, Issuers: []policylang.Issuer{
				{Name: "a", URL: "https://a.example.com", Audience: "x"},
				{Name: "a", URL: "https://a.example.com", Audience: "x"},
			}}}},
			[]string{
				`gateway.g.issuer.a: two issuers are named "a"`,
				`gateway.g.issuer.a.url: issuer "a" has the same url`,
			},
		},
		{
			"credentials are never quoted",
			policylang.Policy{Gateways: []policylang.Gateway{
				{Name: "a", Upstream: policylang.Upstream{Host: "db", Credentials: "hunter2"}},
				{Name: "b", Upstream: policylang.Upstream{Host: "db", Credentials: "env:hunter2!"}},
				{Name: "c", Upstream: policylang.Upstream{Host: "db", Credentials: "file:hunter2"}},
				{Name: "d", Upstream: policylang.Upstream{Host: "db", Credentials: "vault:"}},
				{Name: "e", Upstream: policylang.Upstream{Host: "db", Credentials: "hunter2\xff"}},
				{Name: "f", Upstream: policylang.Upstream{Host: "db", Credentials: "vault:secret/data/db#password"}},
				{Name: "g", Upstream: policylang.Upstream{Host: "db", Credentials: "env:DB_PASSWORD_2"}},
			}},
			[]string{
				"gateway.a.upstream.credentials: credentials must be a reference, never the secret itself",
				"gateway.b.upstream.credentials: credentials must be a reference, never the secret itself",
				"gateway.c.upstream.credentials: credentials must be a reference, never the secret itself",
				"gateway.d.upstream.credentials: credentials must be a reference, never the secret itself",
				"gateway.e.upstream.credentials: upstream.credentials is not valid UTF-8 text",
				"gateway.e.upstream.credentials: credentials must be a reference, never the secret itself",
			},
		},
		{
			"members among identities",
			policylang.Policy{
				Identities: []policylang.Identity{
					{Name: "ana", Kind: "human", When: "true"},
					{Name: "ci", Kind: "service", When: "true"},
				},
				ApprovalGroups: []policylang.ApprovalGroup{{Name: "dba", Members: []string{"ana", "anna", "ci"}}},
			},
			[]string{
				`approval_group.dba.members[1]: no identity is named "anna"`,
				`approval_group.dba.members[2]: "ci" is of kind "service"`,
			},
		},
		{
			"members that tokens name",
			policylang.Policy{
				Identities:     []policylang.Identity{{Name: "staff", Kind: "human", When: "true", NameFrom: "token.sub"}},
				ApprovalGroups: []policylang.ApprovalGroup{{Name: "dba", Members: []string{"u-17"}}},
			},
			nil,
		},
		{
			"long role",
			policylang.Policy{Identities: []policylang.Identity{{Name: "a", Kind: "human", When: "true", DatabaseRole: strings.Repeat("é", 32)}}},
			[]string{"identity.a.database_role: database_role is 64 bytes long"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got []string
			for _, p := range tt.policy.Validate() {
				got = append(got, p.Path.String()+": "+p.Summary)
				if strings.Contains(p.Error(), "hunter2") {
					t.Errorf("the problem shows the secret: %v", p)
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// TestValidateDefaults shows that explicit defaults are no problem where the
// same policy without them is none.
func TestValidateDefaults(t *testing.T) {
	p := examplePolicy()
	p.MaskingPolicies[0].Columns = []string{"a.b.c"}
	sorted := p.Sorted()
	if got := sorted.Validate(); len(got) != len(p.Validate()) {
		t.Errorf("problems of the canonical form: %v", got)
	}
}

func TestValidateTest(t *testing.T) {
	p := examplePolicy()
	ok := policylang.Test{
		Name: "t", Identity: "ana", SQL: "select 1", Now: "2026-01-02T15:04:05Z", Schema: "sub/schema.sql",
		Session: policylang.TestSession{ClientAddr: "2001:db8::1"},
		Expect:  policylang.Expect{Effect: policylang.EffectAllow, Rules: []string{"read"}, ApprovalGroups: []string{"dba"}},
	}
	if got := ok.Validate(&p); len(got) > 0 {
		t.Errorf("problems: %v", got)
	}
	tests := []struct {
		name   string
		change func(*policylang.Test)
		want   string
	}{
		{"no name", func(t *policylang.Test) { t.Name = "" }, "test.: the test has no name"},
		{"nobody asks", func(t *policylang.Test) { t.Identity = "" }, "test.t.identity: identity is missing"},
		{"no statement", func(t *policylang.Test) { t.SQL = " " }, "test.t.sql: sql is missing"},
		{"absolute schema", func(t *policylang.Test) { t.Schema = "/etc/passwd" }, "test.t.schema: schema must name a file"},
		{"schema above", func(t *policylang.Test) { t.Schema = "a/../../b" }, "test.t.schema: schema must name a file"},
		{"expects nothing", func(t *policylang.Test) { t.Expect = policylang.Expect{} }, "test.t.expect: the test expects nothing"},
		{"observed", func(t *policylang.Test) { t.Expect.Observed = []string{"raed"} }, `test.t.expect.observed[0]: no query rule is named "raed"`},
		{"not UTF-8", func(t *policylang.Test) { t.Session.Reason = "\xff" }, "test.t.session.reason: session.reason is not valid"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			broken := ok
			tt.change(&broken)
			got := broken.Validate(&p)
			if len(got) != 1 || !strings.HasPrefix(got[0].Path.String()+": "+got[0].Summary, tt.want) {
				t.Errorf("problems %v, want %q", got, tt.want)
			}
		})
	}
}
