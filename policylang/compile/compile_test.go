package compile_test

import (
	"encoding/json"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/policylang/compile"
)

// noon is a Wednesday.
var noon = time.Date(2026, time.April, 1, 12, 0, 0, 0, time.UTC)

// examplePolicy is the policy of the language's design, by hand.
func examplePolicy() policylang.Policy {
	return policylang.Policy{
		Gateways: []policylang.Gateway{{
			Name:     "orders",
			Upstream: policylang.Upstream{Host: "db.internal", Credentials: "env:DB"},
			Issuers:  []policylang.Issuer{{Name: "corp", URL: "https://login.example.com", Audience: "postern"}},
		}},
		Identities: []policylang.Identity{
			{Name: "ana", Kind: "human", When: "token.iss == 'https://login.example.com' && token.sub == 'u-17'", Groups: []string{"engineering"}, DatabaseRole: "ana_rw"},
			{Name: "ben", Kind: "human", When: "token.iss == 'https://login.example.com' && token.sub == 'u-18'", Groups: []string{"engineering", "pii"}},
			{Name: "bot", Kind: "agent", When: "token.iss == 'https://login.example.com' && token.sub == 'bot-1'", Groups: []string{"engineering"}},
			{Name: "partners", Kind: "human", When: "token.iss == 'https://partners.example.com'", NameFrom: "token.sub", GroupsFrom: "token.groups"},
		},
		ApprovalGroups: []policylang.ApprovalGroup{{Name: "dba", Members: []string{"ben"}}},
		QueryRules: []policylang.QueryRule{
			{Name: "engineers", When: "'engineering' in identity.groups", Effect: policylang.EffectAllow},
			{Name: "row_ceiling", When: "identity.kind != 'service'", Effect: policylang.EffectLimit, MaxRows: 10000},
			{Name: "agents_read", When: "identity.kind == 'agent'", Effect: policylang.EffectLimit, ReadOnly: true, MaxRows: 100},
			{Name: "agents_never_write", When: "identity.kind == 'agent' && statement.writes", Effect: policylang.EffectDeny, Message: "Agents read."},
			{Name: "no_drop_database", When: "statement.commands.exists(c, c == 'DROP DATABASE')", Effect: policylang.EffectDeny, Message: "Never by hand."},
			{Name: "unfiltered_writes", When: "statement.writes && !statement.filtered", Effect: policylang.EffectHold, ApprovalGroup: "dba"},
			{Name: "no_secrets", When: "statement.reads('secret.*')", Effect: policylang.EffectDeny, Message: "Secrets stay secret."},
			{Name: "weekend", When: "now.weekday('Europe/Berlin') > 5 && statement.writes", Effect: policylang.EffectHold, ApprovalGroup: "dba", HoldMode: "retry"},
			{Name: "watch_selects", When: "statement.command == 'SELECT'", Effect: policylang.EffectDeny, Mode: policylang.ModeObserve},
		},
		MaskingPolicies: []policylang.MaskingPolicy{
			{Name: "email", Columns: []string{"public.customers.email"}, Transform: policylang.TransformPartial, Unless: "'pii' in identity.groups"},
			{Name: "ssn", Columns: []string{"*.*.ssn"}, Transform: policylang.TransformNull},
		},
	}
}

func mustCompile(t testing.TB, p policylang.Policy, gateway string) *compile.Program {
	t.Helper()
	program, problems := compile.Compile(p, gateway)
	for _, problem := range problems {
		if problem.Severity == policylang.SeverityError {
			t.Errorf("compile: %v", problem)
		}
	}
	if program == nil {
		t.FailNow()
	}
	return program
}

func testSession() *policylang.Session {
	return &policylang.Session{ID: "s_1", Gateway: "orders", Database: "app", Role: "app", ClientAddr: netip.MustParseAddr("10.1.2.3"), TLS: true, Started: noon}
}

func selectFrom(schema, name string) *policylang.Facts {
	return &policylang.Facts{
		Text: "select * from x", Shape: "select * from x", Fingerprint: "0123456789abcdef",
		Command: "SELECT", Commands: []string{"SELECT"}, Class: policylang.ClassRead, ReadOnly: true, Filtered: true, Limit: -1,
		Relations: []policylang.Relation{{Schema: schema, Name: name, Verb: policylang.VerbRead}},
	}
}

func update(filtered bool) *policylang.Facts {
	return &policylang.Facts{
		Text: "update t set a = 1", Shape: "update t set a = ?", Fingerprint: "0123456789abcdee",
		Command: "UPDATE", Commands: []string{"UPDATE"}, Class: policylang.ClassWrite, Writes: true, Filtered: filtered, Limit: -1,
		Relations: []policylang.Relation{{Schema: "public", Name: "t", Verb: policylang.VerbUpdate}},
	}
}

func TestDecide(t *testing.T) {
	program := mustCompile(t, examplePolicy(), "orders")
	ana := &policylang.Subject{Name: "ana", Identity: "ana", Kind: "human", Groups: []string{"engineering"}}
	carl := &policylang.Subject{Name: "carl", Identity: "partners", Kind: "human"}
	bot := &policylang.Subject{Name: "bot", Identity: "bot", Kind: "agent", Groups: []string{"engineering"}}
	anaByBot := &policylang.Subject{Name: "ana", Identity: "ana", Kind: "human", Groups: []string{"engineering"}, Actor: bot}
	saturday := noon.AddDate(0, 0, 3)
	human := policylang.Limits{MaxRows: 10000, Rules: []string{"row_ceiling"}}
	agent := policylang.Limits{MaxRows: 100, ReadOnly: true, Rules: []string{"agents_read", "row_ceiling"}}
	watched := []policylang.Observation{{Rule: "watch_selects", Effect: policylang.EffectDeny}}
	const doubt = "It could not be ruled out that the statement does this, since not everything in it can be read or resolved."

	opaque := selectFrom("public", "t")
	opaque.Opaque, opaque.ReadOnly, opaque.Class = true, false, policylang.ClassFunction

	for _, tt := range []struct {
		name    string
		subject *policylang.Subject
		facts   *policylang.Facts
		now     time.Time
		want    policylang.Decision
	}{
		{"allow", ana, selectFrom("public", "t"), noon, policylang.Decision{Effect: policylang.EffectAllow, Rules: []string{"engineers"}, Limits: human, Observed: watched}},
		{"default", carl, selectFrom("public", "t"), noon, policylang.Decision{Effect: policylang.EffectDeny, ByDefault: true, Limits: human, Observed: watched}},
		{"deny over allow", ana, selectFrom("secret", "t"), noon, policylang.Decision{Effect: policylang.EffectDeny, Rules: []string{"no_secrets"}, Message: "Secrets stay secret.", Limits: human, Observed: watched}},
		{"unresolved schema", ana, selectFrom("", "t"), noon, policylang.Decision{Effect: policylang.EffectDeny, Rules: []string{"no_secrets"}, Message: "Secrets stay secret. " + doubt, Limits: human, Observed: watched}},
		{"opaque", ana, opaque, noon, policylang.Decision{Effect: policylang.EffectDeny, Rules: []string{"no_drop_database", "no_secrets"}, Message: "Never by hand. Secrets stay secret. " + doubt, Limits: human, Observed: watched}},
		{"hold", ana, update(false), noon, policylang.Decision{Effect: policylang.EffectHold, Rules: []string{"unfiltered_writes"}, ApprovalGroups: []string{"dba"}, HoldMode: "wait", Limits: human}},
		{"filtered", ana, update(true), noon, policylang.Decision{Effect: policylang.EffectAllow, Rules: []string{"engineers"}, Limits: human}},
		{"weekend", ana, update(true), saturday, policylang.Decision{Effect: policylang.EffectHold, Rules: []string{"weekend"}, ApprovalGroups: []string{"dba"}, HoldMode: "retry", Limits: human}},
		{"two holds", ana, update(false), saturday, policylang.Decision{Effect: policylang.EffectHold, Rules: []string{"unfiltered_writes", "weekend"}, ApprovalGroups: []string{"dba"}, HoldMode: "retry", Limits: human}},
		{"agent", bot, selectFrom("public", "t"), noon, policylang.Decision{Effect: policylang.EffectAllow, Rules: []string{"engineers"}, Limits: agent, Observed: watched}},
		{"agent for a person", anaByBot, selectFrom("public", "t"), noon, policylang.Decision{Effect: policylang.EffectAllow, Rules: []string{"engineers"}, Limits: agent, Observed: watched}},
		{"agent for a person writes", anaByBot, update(false), noon, policylang.Decision{Effect: policylang.EffectDeny, Rules: []string{"agents_never_write"}, Message: "Agents read.", Limits: agent}},
		{"transaction", carl, &policylang.Facts{Command: "BEGIN", Class: policylang.ClassMisc, Transaction: true}, noon, policylang.Decision{Effect: policylang.EffectAllow}},
		{"no subject", nil, selectFrom("public", "t"), noon, policylang.Decision{Effect: policylang.EffectDeny, ByDefault: true}},
		{"no facts", ana, nil, noon, policylang.Decision{Effect: policylang.EffectDeny, ByDefault: true}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := program.Evaluator(tt.subject, testSession())
			for range 3 { // the second is from the cache
				if diff := cmp.Diff(&tt.want, e.Decide(tt.facts, tt.now)); diff != "" {
					t.Errorf("decision (-want +got):\n%s", diff)
				}
			}
		})
	}
}

func TestMasks(t *testing.T) {
	program := mustCompile(t, examplePolicy(), "orders")
	ana := &policylang.Subject{Name: "ana", Kind: "human", Groups: []string{"engineering"}}
	ben := &policylang.Subject{Name: "ben", Kind: "human", Groups: []string{"pii"}}
	benByBot := &policylang.Subject{Name: "ben", Kind: "human", Groups: []string{"pii"}, Actor: &policylang.Subject{Name: "bot", Kind: "agent"}}
	for _, tt := range []struct {
		name    string
		subject *policylang.Subject
		want    []string
	}{
		{"masked", ana, []string{"email", "ssn"}},
		{"unless", ben, []string{"ssn"}},
		{"masks of person and agent unite", benByBot, []string{"email", "ssn"}},
		{"nobody", nil, []string{"email", "ssn"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			set := program.Evaluator(tt.subject, testSession()).Masks(noon)
			var got []string
			for _, m := range set.Masks {
				got = append(got, m.Policy)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("masks (-want +got):\n%s", diff)
			}
		})
	}
}

// TestTransforms gives a mask the parameters of its transform, and no others.
func TestTransforms(t *testing.T) {
	var p policylang.Policy
	want := map[string]policylang.Transform{
		"partial":  {Kind: policylang.TransformPartial, KeepFirst: 1, KeepLast: 2, Format: "text"},
		"token":    {Kind: policylang.TransformToken, Format: "card"},
		"truncate": {Kind: policylang.TransformTruncate, Unit: "day"},
		"round":    {Kind: policylang.TransformRound, Digits: -2},
		"hash":     {Kind: policylang.TransformHash},
	}
	for name, w := range want {
		p.MaskingPolicies = append(p.MaskingPolicies, policylang.MaskingPolicy{
			Name: name, Columns: []string{"a.b." + name}, Transform: w.Kind,
			KeepFirst: w.KeepFirst, KeepLast: w.KeepLast, Format: w.Format, Unit: w.Unit, Digits: w.Digits,
		})
	}
	set := mustCompile(t, p, "").Evaluator(nil, nil).Masks(noon)
	got := make(map[string]policylang.Transform)
	for _, m := range set.Masks {
		got[m.Policy] = m.Transform
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("transforms (-want +got):\n%s", diff)
	}
}

// TestTimes reads the times of tokens as JSON decoders give them.
func TestTimes(t *testing.T) {
	p := policylang.Policy{Identities: []policylang.Identity{{Name: "ana", Kind: "human", When: "true"}}}
	program := mustCompile(t, p, "")
	for _, tt := range []struct {
		exp  any
		want time.Time
	}{
		{float64(1_700_000_000), time.Unix(1_700_000_000, 0).UTC()},
		{1_700_000_000.5, time.Unix(1_700_000_000, 500_000_000).UTC()},
		{int64(1_700_000_000), time.Unix(1_700_000_000, 0).UTC()},
		{1_700_000_000, time.Unix(1_700_000_000, 0).UTC()},
		{json.Number("1700000000"), time.Unix(1_700_000_000, 0).UTC()},
		{json.Number("soon"), time.Time{}},
		{"1700000000", time.Time{}},
		{-1.0, time.Time{}},
		{1e300, time.Time{}},
		{nil, time.Time{}},
	} {
		s, err := program.Identify(map[string]any{"exp": tt.exp}, noon)
		if err != nil || !s.Expires.Equal(tt.want) {
			t.Errorf("%v (%T): %v, %v, want %v", tt.exp, tt.exp, s, err, tt.want)
		}
	}
}

func TestIdentify(t *testing.T) {
	p := examplePolicy()
	p.Identities = append(p.Identities, policylang.Identity{Name: "admins", Kind: "human", When: "token.admin == true", Groups: []string{"engineering"}})
	program := mustCompile(t, p, "orders")
	corp := func(sub string, more ...any) map[string]any {
		c := map[string]any{"iss": "https://login.example.com", "sub": sub, "exp": float64(noon.Unix() + 60), "jti": "j1"}
		for i := 0; i+1 < len(more); i += 2 {
			key, _ := more[i].(string)
			c[key] = more[i+1]
		}
		return c
	}
	partner := func(sub, groups any) map[string]any {
		return map[string]any{"iss": "https://partners.example.com", "sub": sub, "groups": groups}
	}
	for _, tt := range []struct {
		name   string
		claims map[string]any
		want   *policylang.Subject
		err    error
		text   string
	}{
		{
			name: "named after the identity", claims: corp("u-17"),
			want: &policylang.Subject{Name: "ana", Identity: "ana", Kind: "human", Groups: []string{"engineering"}, ID: "u-17", Issuer: "https://login.example.com", TokenID: "j1", DatabaseRole: "ana_rw", Expires: noon.Add(time.Minute)},
		},
		{
			name: "named by the token", claims: partner("zoe", []any{"b", "a", "b"}),
			want: &policylang.Subject{Name: "zoe", Identity: "partners", Kind: "human", Groups: []string{"a", "b"}, ID: "zoe", Issuer: "https://partners.example.com", DatabaseRole: "zoe"},
		},
		{
			name: "an agent acts", claims: corp("u-17", "act", map[string]any{"sub": "bot-1", "act": map[string]any{"sub": "earlier"}}),
			want: &policylang.Subject{
				Name: "ana", Identity: "ana", Kind: "human", Groups: []string{"engineering"}, ID: "u-17", Issuer: "https://login.example.com", TokenID: "j1", DatabaseRole: "ana_rw", Expires: noon.Add(time.Minute),
				Actor: &policylang.Subject{Name: "bot", Identity: "bot", Kind: "agent", Groups: []string{"engineering"}, ID: "bot-1", Issuer: "https://login.example.com", DatabaseRole: "bot"},
			},
		},
		{name: "nobody", claims: corp("u-99"), err: compile.ErrNoIdentity},
		{name: "no claims", claims: map[string]any{}, err: compile.ErrNoIdentity},
		{name: "two", claims: corp("u-17", "admin", true), err: compile.ErrAmbiguousIdentity, text: `more than one identity matches the token: "admins" and "ana"`},
		{name: "unregistered agent", claims: corp("u-17", "act", map[string]any{"sub": "bot-2"}), err: compile.ErrBadActor},
		{name: "a person is no agent", claims: corp("u-17", "act", map[string]any{"sub": "u-18"}), err: compile.ErrBadActor},
		{name: "act is no object", claims: corp("u-17", "act", "bot-1"), err: compile.ErrBadActor},
		{name: "empty name", claims: partner("", nil), err: compile.ErrBadName},
		{name: "name is no string", claims: partner(7.0, []any{}), err: compile.ErrBadName},
		{name: "name of another identity", claims: partner("ana", []any{}), err: compile.ErrBadName},
		{name: "reserved role", claims: partner("pg_read_all_data", []any{}), err: compile.ErrBadName},
		{name: "role of another identity", claims: partner("ana_rw", []any{}), err: compile.ErrBadName},
		{name: "name with a null byte", claims: partner("a\x00b", []any{}), err: compile.ErrBadName},
		{name: "a name longer than roles can be", claims: partner(strings.Repeat("z", 64), []any{}), err: compile.ErrBadName},
		{name: "a name that turns the line around", claims: partner("zoe\u202eeoz", []any{}), err: compile.ErrBadName},
		{name: "an empty group", claims: partner("zoe", []any{""}), err: compile.ErrBadGroups},
		{name: "a group with control characters", claims: partner("zoe", []any{"a\nb"}), err: compile.ErrBadGroups},
		{name: "no groups", claims: map[string]any{"iss": "https://partners.example.com", "sub": "zoe"}, err: compile.ErrBadGroups},
		{name: "groups are no list", claims: partner("zoe", "dba"), err: compile.ErrBadGroups},
		{name: "a group is no string", claims: partner("zoe", []any{"a", 1.0}), err: compile.ErrBadGroups},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := program.Identify(tt.claims, noon)
			if !errors.Is(err, tt.err) || tt.text != "" && err.Error() != tt.text {
				t.Fatalf("error %v, want %v %s", err, tt.err, tt.text)
			}
			if got != nil {
				got.Claims = nil
				if got.Actor != nil {
					got.Actor.Claims = nil
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("subject (-want +got):\n%s", diff)
			}
		})
	}
}
