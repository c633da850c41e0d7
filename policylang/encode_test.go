package policylang_test

import (
	"encoding/json"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/posternhq/postern/policylang"
)

// canonicalExample is the encoding that a second implementation would have to
// give. It must never change within version 1.
const canonicalExample = `{"version":1,` +
	`"approval_group":{"dba":{"members":["ben","chloe"],"required":1,"expires_in":"15m"}},` +
	`"gateway":{"orders":{"default_effect":"deny","unparsed":"deny","upstream":{"host":"db","port":5432,"tls":"verify-full","ca":"","credentials":"env:PW","catalog_role":"postern"},"issuer":[{"name":"corp","url":"https://login.example.com","audience":"postern"}]}},` +
	`"identity":{"ana":{"kind":"human","when":"token.sub == 'a' && 1 < 2","groups":[],"name_from":"","groups_from":"","database_role":""}},` +
	`"masking_policy":{"pii":{"columns":["*.*.ssn","a.b.c"],"transform":"partial","unless":"","mode":"enforce","keep_first":0,"keep_last":4,"format":"text","unit":"","digits":0,"predicates":"deny","order":"deny","group":"deny","count":"deny"}},` +
	`"query_rule":{"read":{"when":"statement.read_only","effect":"allow","mode":"enforce","message":"","approval_group":"","hold_mode":"","max_rows":0,"statement_timeout":"","read_only":false,"require_reason":false}}}`

func examplePolicy() policylang.Policy {
	return policylang.Policy{
		Gateways: []policylang.Gateway{{
			Name:     "orders",
			Upstream: policylang.Upstream{Host: "db", Credentials: "env:PW"},
			Issuers:  []policylang.Issuer{{Name: "corp", URL: "https://login.example.com", Audience: "postern"}},
		}},
		Identities:      []policylang.Identity{{Name: "ana", Kind: "human", When: "token.sub == 'a' && 1 < 2"}},
		QueryRules:      []policylang.QueryRule{{Name: "read", When: "statement.read_only", Effect: policylang.EffectAllow}},
		MaskingPolicies: []policylang.MaskingPolicy{{Name: "pii", Columns: []string{"a.b.c", "*.*.ssn", "a.b.c"}, Transform: policylang.TransformPartial, KeepLast: 4}},
		ApprovalGroups:  []policylang.ApprovalGroup{{Name: "dba", Members: []string{"chloe", "ben"}}},
	}
}

func TestCanonical(t *testing.T) {
	p := examplePolicy()
	got, err := p.Canonical()
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != canonicalExample {
		t.Errorf("got  %s\nwant %s", got, canonicalExample)
	}
	digest, err := p.Digest()
	if err != nil || digest != policylang.DigestBytes([]byte(canonicalExample)) {
		t.Errorf("digest %s, %v, want that of the example", digest, err)
	}
	var empty policylang.Policy
	if got, err := empty.Canonical(); err != nil || string(got) != `{"version":1,"approval_group":{},"gateway":{},"identity":{},"masking_policy":{},"query_rule":{}}` {
		t.Errorf("empty policy: %s, %v", got, err)
	}
}

func TestCanonicalErrors(t *testing.T) {
	tests := []struct {
		name   string
		policy policylang.Policy
		want   string
	}{
		{"duplicate", policylang.Policy{QueryRules: []policylang.QueryRule{{Name: "a"}, {Name: "a"}}}, `two objects are named query_rule "a"`},
		{"name not UTF-8", policylang.Policy{QueryRules: []policylang.QueryRule{{Name: "\xff"}}}, "not valid UTF-8"},
		{"text not UTF-8", policylang.Policy{QueryRules: []policylang.QueryRule{{Name: "a", When: "\xff"}}}, "query_rule.a.when: when is not valid UTF-8"},
		{"element not UTF-8", policylang.Policy{Identities: []policylang.Identity{{Name: "a", Groups: []string{"b", "\xff"}}}}, "identity.a.groups[1]"},
		{"issuer not UTF-8", policylang.Policy{Gateways: []policylang.Gateway{{Name: "a", Issuers: []policylang.Issuer{{Name: "i", URL: "\xff"}}}}}, "gateway.a.issuer.i.url"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			data, err := tt.policy.Canonical()
			if data != nil || err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Canonical() = %q, %v, want an error with %q", data, err, tt.want)
			}
		})
	}
}

// TestCanonicalOrder shows that order carries no meaning: of objects, of
// issuers, of the elements of sets, nor do defaults that are spelt out.
func TestCanonicalOrder(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 0))
		p := randomPolicy(r)
		want := digest(t, p)
		if got := digest(t, shuffled(r, p)); got != want {
			t.Fatalf("seed %d: digest %s of the shuffled policy, want %s", seed, got, want)
		}
	}
}

func digest(t *testing.T, p policylang.Policy) string {
	t.Helper()
	d, err := p.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// TestCanonicalRoundTrip shows that the encoding loses nothing.
func TestCanonicalRoundTrip(t *testing.T) {
	for seed := range uint64(300) {
		p := randomPolicy(rand.New(rand.NewPCG(seed, 1)))
		data, err := p.Canonical()
		if err != nil {
			t.Fatal(err)
		}
		got, err := policylang.ParseCanonical(data)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(p.Sorted(), got); diff != "" {
			t.Fatalf("seed %d: (-want +got)\n%s", seed, diff)
		}
	}
}

// TestCanonicalTellsApart changes one attribute at a time and wants another
// digest each time.
func TestCanonicalTellsApart(t *testing.T) {
	changes := map[string]func(p *policylang.Policy){
		"default_effect": func(p *policylang.Policy) { p.Gateways[0].DefaultEffect = policylang.EffectAllow },
		"unparsed":       func(p *policylang.Policy) { p.Gateways[0].Unparsed = "allow" },
		"host":           func(p *policylang.Policy) { p.Gateways[0].Upstream.Host = "db2" },
		"audience":       func(p *policylang.Policy) { p.Gateways[0].Issuers[0].Audience = "x" },
		"identity name":  func(p *policylang.Policy) { p.Identities[0].Name = "anna" },
		"groups":         func(p *policylang.Policy) { p.Identities[0].Groups = []string{"x"} },
		"when":           func(p *policylang.Policy) { p.QueryRules[0].When += " " },
		"mode":           func(p *policylang.Policy) { p.QueryRules[0].Mode = policylang.ModeObserve },
		"column":         func(p *policylang.Policy) { p.MaskingPolicies[0].Columns = p.MaskingPolicies[0].Columns[:1] },
		"knob":           func(p *policylang.Policy) { p.MaskingPolicies[0].Order = policylang.KnobAllow },
		"required":       func(p *policylang.Policy) { p.ApprovalGroups[0].Required = 2 },
		"one rule less":  func(p *policylang.Policy) { p.QueryRules = nil },
	}
	seen := map[string]string{digest(t, examplePolicy()): "the policy itself"}
	for name, change := range changes {
		p := examplePolicy()
		change(&p)
		d := digest(t, p)
		if other, dup := seen[d]; dup {
			t.Errorf("%s and %s have one digest", name, other)
		}
		seen[d] = name
	}
}

func TestParseCanonicalErrors(t *testing.T) {
	replaced := func(old, with string) string {
		if !strings.Contains(canonicalExample, old) {
			t.Fatalf("the example does not contain %q", old)
		}
		return strings.Replace(canonicalExample, old, with, 1)
	}
	const notCanonical = "the encoding is not canonical"
	tests := []struct{ name, data, want string }{
		{"empty", "", "EOF"},
		{"truncated", canonicalExample[:100], "unexpected EOF"},
		{"not an object", `[]`, "where an object is wanted"},
		{"null", `null`, "version 0 is not supported"},
		{"version", replaced(`"version":1`, `"version":2`), "version 2 is not supported, want 1"},
		{"no version", replaced(`"version":1,`, ``), "version 0 is not supported"},
		{"unknown attribute", replaced(`"required":1`, `"required":1,"x":2`), "unknown field"},
		{"unknown kind", replaced(`"version":1,`, `"version":1,"user":{},`), `unknown kind of object "user"`},
		{"wrong type", replaced(`"required":1`, `"required":"1"`), "cannot unmarshal"},
		{"trailing data", canonicalExample + "{}", notCanonical},
		{"trailing newline", canonicalExample + "\n", notCanonical},
		{"space", replaced(`"version":1,`, `"version": 1,`), notCanonical},
		{"default left out", replaced(`"required":1,`, ``), notCanonical},
		{"default empty", replaced(`"required":1,`, `"required":0,`), notCanonical},
		{"kind left out", replaced(`"query_rule"`, `"query_rule":{},"query_rule"`), notCanonical},
		{"unsorted set", replaced(`["ben","chloe"]`, `["chloe","ben"]`), notCanonical},
		{"repeated element", replaced(`["ben","chloe"]`, `["ben","ben","chloe"]`), notCanonical},
		{"null set", replaced(`"groups":[]`, `"groups":null`), notCanonical},
		{"repeated attribute", replaced(`"required":1`, `"required":2,"required":1`), notCanonical},
		{"repeated object", replaced(`"ana":{`, `"ana":{},"ana":{`), notCanonical},
		{"other case", replaced(`"required"`, `"Required"`), notCanonical},
		{"escaped character", replaced(`"ben"`, `"\u0062en"`), notCanonical},
		{"HTML escape", replaced(`&&`, `\u0026\u0026`), notCanonical},
		{"not UTF-8", replaced(`"ben"`, "\"\xff\""), notCanonical},
		{"NUL", replaced(`"ben"`, `"\u0000"`), "not valid UTF-8"},
		{"number in another form", replaced(`"port":5432`, `"port":5432.0`), "cannot unmarshal"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p, err := policylang.ParseCanonical([]byte(tt.data))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("error %v, want %q", err, tt.want)
			}
			if diff := cmp.Diff(policylang.Policy{}, p); diff != "" {
				t.Errorf("a policy comes with the error:\n%s", diff)
			}
		})
	}
}

func TestDefinition(t *testing.T) {
	for seed := range uint64(100) {
		p := randomPolicy(rand.New(rand.NewPCG(seed, 2)))
		sorted := p.Sorted()
		canonical := sorted.Objects()
		for _, o := range canonical {
			data, err := policylang.Definition(o)
			if err != nil {
				t.Fatal(err)
			}
			got, err := policylang.ParseDefinition(o.ObjectKind(), o.ObjectName(), data)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(o, got); diff != "" {
				t.Fatalf("%s %s: (-want +got)\n%s", o.ObjectKind(), o.ObjectName(), diff)
			}
		}
	}
}

// TestDefinitionIsPartOfCanonical shows that the canonical policy is made of
// definitions, byte for byte.
func TestDefinitionIsPartOfCanonical(t *testing.T) {
	p := examplePolicy()
	for _, o := range p.Objects() {
		data, err := policylang.Definition(o)
		if err != nil {
			t.Fatal(err)
		}
		name, err := json.Marshal(o.ObjectName())
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(canonicalExample, string(name)+":"+string(data)) {
			t.Errorf("the canonical policy does not hold %s: %s", name, data)
		}
	}
}

func TestParseDefinitionErrors(t *testing.T) {
	tests := []struct {
		name string
		kind policylang.Kind
		data string
		want string
	}{
		{"unknown kind", "user", `{}`, `unknown kind of object "user"`},
		{"unknown attribute", policylang.KindQueryRule, `{"wen":"true"}`, `read query_rule "a": json: unknown field "wen"`},
		{"wrong type", policylang.KindQueryRule, `{"max_rows":"1"}`, "cannot unmarshal"},
		{"two values", policylang.KindQueryRule, `{} {}`, "more than one JSON value"},
		{"empty", policylang.KindQueryRule, ``, "EOF"},
		{"a name inside", policylang.KindQueryRule, `{"name":"b"}`, "unknown field"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o, err := policylang.ParseDefinition(tt.kind, "a", []byte(tt.data))
			if o != nil || err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("ParseDefinition() = %v, %v, want an error with %q", o, err, tt.want)
			}
		})
	}
}

// TestParseDefinitionDefaults shows that what is absent has its default.
func TestParseDefinitionDefaults(t *testing.T) {
	o, err := policylang.ParseDefinition(policylang.KindApprovalGroup, "dba", []byte(`{"members":["b","a","b"]}`))
	if err != nil {
		t.Fatal(err)
	}
	want := &policylang.ApprovalGroup{Name: "dba", Members: []string{"a", "b"}, Required: 1, ExpiresIn: "15m"}
	if diff := cmp.Diff(policylang.Object(want), o); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// FuzzParseCanonical checks that what is accepted is encoded again as it was,
// and that an error comes without a policy.
func FuzzParseCanonical(f *testing.F) {
	f.Add([]byte(canonicalExample))
	f.Add([]byte(`{"version":1,"approval_group":{},"gateway":{},"identity":{},"masking_policy":{},"query_rule":{}}`))
	for seed := range uint64(20) {
		p := randomPolicy(rand.New(rand.NewPCG(seed, 3)))
		data, err := p.Canonical()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := policylang.ParseCanonical(data)
		if err != nil {
			if diff := cmp.Diff(policylang.Policy{}, p); diff != "" {
				t.Errorf("a policy comes with the error %v:\n%s", err, diff)
			}
			return
		}
		again, err := p.Canonical()
		if err != nil || string(again) != string(data) {
			t.Errorf("encoded again: %q, %v", again, err)
		}
		_ = p.Validate()
	})
}
