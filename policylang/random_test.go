package policylang_test

import (
	"fmt"
	"math/rand/v2"

	"github.com/posternhq/postern/policylang"
)

// randomPolicy returns a policy with objects of every kind, their attributes
// set or not by chance.
func randomPolicy(r *rand.Rand) policylang.Policy {
	var p policylang.Policy
	for i := range r.IntN(4) {
		p.Gateways = append(p.Gateways, policylang.Gateway{
			Name:          fmt.Sprintf("gateway_%d", i),
			DefaultEffect: pick(r, "", policylang.EffectDeny, policylang.EffectAllow),
			Unparsed:      pick(r, "", "deny", "allow"),
			Upstream: policylang.Upstream{
				Host:        pick(r, "db", "::1", "db.internal"),
				Port:        pick(r, 0, 5432, 6432),
				TLS:         pick(r, "", "verify-full", "verify-ca"),
				Credentials: pick(r, "", "env:PGPASSWORD", "file:/run/x", "vault:db/creds"),

				FallbackHosts:      pick(r, nil, []string{"db2", "db3:5433"}, []string{"db3:5433", "db2"}),
				TargetSessionAttrs: pick(r, "", policylang.AttrsAny, policylang.AttrsStandby),
			},
			Issuers: randomIssuers(r),
		})
	}
	for i := range r.IntN(6) {
		p.Identities = append(p.Identities, policylang.Identity{
			Name:     fmt.Sprintf("identity_%d", i),
			Kind:     pick(r, "human", "service", "agent"),
			When:     pick(r, "true", "token.sub == 'é \" \\ <&>'", "a\nb\n"),
			Groups:   randomNames(r),
			NameFrom: pick(r, "", "token.sub"),
		})
	}
	for i := range r.IntN(8) {
		p.QueryRules = append(p.QueryRules, policylang.QueryRule{
			Name:          fmt.Sprintf("rule_%d", i),
			When:          pick(r, "true", "statement.writes", "  a &&\n\n b\n", "'${x}' + '%{y}' + '$${z}'"),
			Effect:        pick(r, policylang.EffectAllow, policylang.EffectDeny, policylang.EffectHold, policylang.EffectLimit),
			Mode:          pick(r, "", policylang.ModeEnforce, policylang.ModeObserve),
			ApprovalGroup: pick(r, "", "group_0"),
			HoldMode:      pick(r, "", "wait", "retry"),
			MaxRows:       pick(r, int64(0), 1, 1<<40),
			ReadOnly:      pick(r, false, true),
		})
	}
	for i := range r.IntN(4) {
		p.MaskingPolicies = append(p.MaskingPolicies, policylang.MaskingPolicy{
			Name:       fmt.Sprintf("mask_%d", i),
			Columns:    randomNames(r),
			Transform:  pick(r, policylang.TransformKinds()...),
			Format:     pick(r, "", "text", "email"),
			Unit:       pick(r, "", "month", "year"),
			Digits:     pick(r, 0, -2, 2),
			Predicates: pick(r, "", policylang.KnobDeny, policylang.KnobEquality),
			Count:      pick(r, "", policylang.KnobDeny, policylang.KnobAllow),
		})
	}
	for i := range r.IntN(3) {
		p.ApprovalGroups = append(p.ApprovalGroups, policylang.ApprovalGroup{
			Name:      fmt.Sprintf("group_%d", i),
			Members:   randomNames(r),
			Required:  r.IntN(3),
			ExpiresIn: pick(r, "", "15m", "1h"),
		})
	}
	return p
}

func randomIssuers(r *rand.Rand) []policylang.Issuer {
	var out []policylang.Issuer
	for i := range r.IntN(3) {
		out = append(out, policylang.Issuer{Name: fmt.Sprintf("issuer_%d", i), URL: fmt.Sprintf("https://%d.example.com", i), Audience: "postern"})
	}
	return out
}

// randomNames returns up to three names, in no order and with repetitions.
func randomNames(r *rand.Rand) []string {
	var out []string
	for range r.IntN(4) {
		out = append(out, pick(r, "ana", "ben", "chloe"))
	}
	return out
}

func pick[T any](r *rand.Rand, values ...T) T { return values[r.IntN(len(values))] }

// shuffled returns p with its objects, and its sets, in another order and with
// defaults made explicit here and there.
func shuffled(r *rand.Rand, p policylang.Policy) policylang.Policy {
	if r.IntN(2) == 0 {
		p = p.Sorted()
	}
	out := policylang.Policy{
		Gateways:        permuted(r, p.Gateways),
		Identities:      permuted(r, p.Identities),
		QueryRules:      permuted(r, p.QueryRules),
		MaskingPolicies: permuted(r, p.MaskingPolicies),
		ApprovalGroups:  permuted(r, p.ApprovalGroups),
	}
	for i := range out.Gateways {
		out.Gateways[i].Issuers = permuted(r, out.Gateways[i].Issuers)
	}
	for i := range out.Identities {
		out.Identities[i].Groups = repeated(r, out.Identities[i].Groups)
	}
	for i := range out.MaskingPolicies {
		out.MaskingPolicies[i].Columns = repeated(r, out.MaskingPolicies[i].Columns)
	}
	for i := range out.ApprovalGroups {
		out.ApprovalGroups[i].Members = repeated(r, out.ApprovalGroups[i].Members)
	}
	return out
}

func permuted[T any](r *rand.Rand, values []T) []T {
	out := make([]T, len(values))
	for i, j := range r.Perm(len(values)) {
		out[i] = values[j]
	}
	return out
}

// repeated returns a set in another order, perhaps with an element twice.
func repeated(r *rand.Rand, set []string) []string {
	if len(set) > 0 && r.IntN(2) == 0 {
		set = append([]string{set[r.IntN(len(set))]}, set...)
	}
	return permuted(r, set)
}
