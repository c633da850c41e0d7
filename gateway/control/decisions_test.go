package control

import (
	"net/http"
	"slices"
	"testing"

	"github.com/posternhq/postern/gateway/internal/api"
	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/policylang/bundle"
)

// shopPolicy lets Ana read, with the e-mail address masked.
func shopPolicy() *policylang.Policy {
	return &policylang.Policy{
		Gateways: []policylang.Gateway{{
			Name: "gw", Upstream: policylang.Upstream{Host: "db"},
			Issuers: []policylang.Issuer{{Name: "corp", URL: "https://login.example.com", Audience: "postern"}},
		}},
		Identities:      []policylang.Identity{{Name: "ana", Kind: "human", When: "token.sub == 'u-17'"}},
		QueryRules:      []policylang.QueryRule{{Name: "read", When: "statement.read_only && identity.kind == 'human'", Effect: policylang.EffectAllow}},
		MaskingPolicies: []policylang.MaskingPolicy{{Name: "email", Columns: []string{"*.*.email"}, Transform: policylang.TransformRedact}},
	}
}

func questions() []policylang.Test {
	return []policylang.Test{
		{Name: "reads", Identity: "ana", SQL: "select id, email from customers", Schema: "shop", Expect: policylang.Expect{Effect: "allow", Masked: []string{"email"}}},
		{Name: "writes", Token: map[string]any{"sub": "u-17"}, SQL: "delete from customers", Expect: policylang.Expect{Effect: "allow"}},
		{Name: "nobody", Identity: "carl", SQL: "select 1"},
		{Name: "elsewhere", Identity: "ana", SQL: "select 1", Schema: "crm"},
	}
}

func TestDecisions(t *testing.T) {
	b := newBench(t)
	policy := shopPolicy()
	canonical, err := policy.Canonical()
	if err != nil {
		t.Fatal(err)
	}
	digest, err := policy.Digest()
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := bundle.Seal(policy, b.key)
	if err != nil {
		t.Fatal(err)
	}
	b.want(b.do(b.token(api.RoleAuthor), "PUT /v1/bundles/"+digest, sealed), http.StatusCreated, "")

	schemas := map[string]string{"shop": "create table customers (id int, email text)"}
	for _, in := range []api.DecisionsInput{
		{Policy: canonical, Schemas: schemas, Tests: questions()},
		{Bundle: digest, Schemas: schemas, Tests: questions()},
	} {
		got := into[api.Decisions](t, b.want(b.do(b.token(api.RoleViewer), "POST /v1/decisions", in), http.StatusOK, "")).Decisions
		if len(got) != 4 {
			t.Fatalf("%d decisions", len(got))
		}
		reads, writes := got[0], got[1]
		if !reads.Passed || reads.Effect != "allow" || !slices.Equal(reads.Rules, []string{"read"}) || len(reads.Columns) != 2 ||
			reads.Columns[1].Action != "mask" && reads.Columns[1].Action != "redact" {
			t.Errorf("reads: %+v", reads)
		}
		want := api.DecisionDifference{Attribute: "expect.effect", Want: "allow", Got: "deny"}
		if writes.Passed || writes.Subject != "ana" || writes.Effect != "deny" || !writes.ByDefault || !slices.Equal(writes.Differences, []api.DecisionDifference{want}) {
			t.Errorf("writes: %+v", writes)
		}
		if got[2].Passed || got[2].Error != `no identity is named "carl"` || got[3].Passed || got[3].Error == "" {
			t.Errorf("what is not there: %+v", got[2:])
		}
	}
}

func TestDecisionsRefuse(t *testing.T) {
	b := newBench(t)
	canonical, err := shopPolicy().Canonical()
	if err != nil {
		t.Fatal(err)
	}
	broken := shopPolicy()
	broken.QueryRules[0].When = "statement.nothing"
	uncompilable, err := broken.Canonical()
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name   string
		body   any
		status int
		code   string
	}{
		{"no JSON", "{", http.StatusBadRequest, api.CodeInvalid},
		{"neither bundle nor policy", api.DecisionsInput{}, http.StatusUnprocessableEntity, api.CodeInvalid},
		{"both", api.DecisionsInput{Bundle: "sha256:0", Policy: canonical}, http.StatusUnprocessableEntity, api.CodeInvalid},
		{"no policy", api.DecisionsInput{Policy: []byte(`{"version":1}`)}, http.StatusUnprocessableEntity, api.CodeInvalid},
		{"a policy that does not compile", api.DecisionsInput{Policy: uncompilable}, http.StatusUnprocessableEntity, api.CodeInvalid},
		{"no such bundle", api.DecisionsInput{Bundle: "sha256:0"}, http.StatusNotFound, api.CodeNotFound},
		{"somebody else's bundle", api.DecisionsInput{Bundle: b.stored("one")}, http.StatusNotFound, api.CodeNotFound},
		{"too many", api.DecisionsInput{Policy: canonical, Tests: make([]policylang.Test, api.MaxDecisions+1)}, http.StatusUnprocessableEntity, api.CodeInvalid},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b.want(b.do(b.token(api.ScopedRole(api.RoleViewer, "gw")), "POST /v1/decisions", tt.body), tt.status, tt.code)
		})
	}
	b.want(b.do(b.token(api.GatewayRole("gw")), "POST /v1/decisions", api.DecisionsInput{}), http.StatusForbidden, api.CodeForbidden)
}
