package provider_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/posternhq/postern/policylang/bundle"
	"github.com/posternhq/postern/policylang/compile"
)

// A bundle's digest is the same while Terraform plans, after apply and at the
// gateway; other words for the same policy have the same one; and it is unknown
// exactly when an input is. The property is tried on random bundles.
func TestDigestProperties(t *testing.T) {
	l := newLab(t)
	p := l.protocol(t)
	ring, err := bundle.NewKeyRing(l.key.PublicKey())
	must(t, err)
	seen := map[string]bool{}
	for seed := range uint64(60) {
		g := generator{rand.New(rand.NewPCG(seed, 7))}
		config := g.bundle()
		plan := p.plan("postern_bundle", nil, config)
		if plan.errors != "" {
			t.Fatalf("seed %d: %s", seed, plan.errors)
		}
		planned := text(t, plan.value, "digest")
		applied := text(t, p.mustApply("postern_bundle", nil, config).value, "digest")
		sealed, _ := l.control.Sealed(planned)
		policy, opened, err := bundle.Open(sealed, ring)
		must(t, err)
		program, problems := compile.Compile(policy, "orders")
		if program == nil {
			t.Fatalf("seed %d: %v", seed, problems)
		}
		if applied != planned || opened.Digest != planned || program.Digest() != planned {
			t.Errorf("seed %d: planned %s, applied %s, opened %s, enforced %s", seed, planned, applied, opened.Digest, program.Digest())
		}
		if words := text(t, p.plan("postern_bundle", nil, g.otherWords(config)).value, "digest"); words != planned {
			t.Errorf("seed %d: in other words the digest is %s, not %s", seed, words, planned)
		}
		if plan := p.plan("postern_bundle", nil, g.unknownSomewhere(config)); plan.errors != "" || text(t, plan.value, "digest") != "?" {
			t.Errorf("seed %d: with something unknown the digest is %s (%s)", seed, text(t, plan.value, "digest"), plan.errors)
		}
		seen[planned] = true
	}
	if len(seen) < 50 {
		t.Errorf("60 random bundles have only %d digests: the generator is poor", len(seen))
	}
}

// generator makes random bundles without mistakes.
type generator struct{ *rand.Rand }

func (g generator) one(from ...string) string { return from[g.IntN(len(from))] }

func (g generator) some(from ...string) []string {
	out := []string{from[g.IntN(len(from))]}
	for _, s := range from {
		if g.IntN(2) == 0 && !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}

// maybe sets an attribute, or leaves it out.
func (g generator) maybe(object map[string]any, name string, value any) {
	if g.IntN(2) == 0 {
		object[name] = value
	}
}

func (g generator) bundle() attributes {
	upstream := map[string]any{"host": g.one("db", "db.internal")}
	g.maybe(upstream, "port", 5000+g.IntN(1000))
	g.maybe(upstream, "tls", g.one("verify-full", "require", "disable"))
	gateway := map[string]any{
		"upstream": upstream,
		"issuer":   map[string]any{"corp": map[string]any{"url": "https://login.example.com", "audience": g.one("a", "b")}},
	}
	g.maybe(gateway, "default_effect", g.one("deny", "allow"))
	config := attributes{"gateways": map[string]any{"orders": gateway}}
	identities, rules, masks, groups := map[string]any{}, map[string]any{}, map[string]any{}, map[string]any{}
	for i := range 1 + g.IntN(4) {
		identity := map[string]any{"kind": g.one("human", "service"), "when": fmt.Sprintf("token.sub == 'u-%d-%d'", i, g.IntN(99))}
		g.maybe(identity, "groups", g.some("dba", "pii", "ops"))
		g.maybe(identity, "database_role", g.one("app", "reader"))
		identities[fmt.Sprintf("i%d", i)] = identity
	}
	groups["dba"] = map[string]any{"members": g.some("ana", "bo", "chloe")}
	for i := range 1 + g.IntN(5) {
		rule := map[string]any{"when": g.one("statement.read_only", "'dba' in identity.groups", "true"), "effect": g.one("allow", "deny", "hold", "limit")}
		switch rule["effect"] {
		case "hold":
			rule["approval_group"] = "dba"
		case "limit":
			rule["max_rows"] = 1 + g.IntN(9)
		case "deny":
			g.maybe(rule, "message", g.one("no", "ask <ana> & bo"))
		}
		g.maybe(rule, "mode", g.one("enforce", "observe"))
		rules[fmt.Sprintf("r%d", i)] = rule
	}
	for i := range g.IntN(3) {
		mask := map[string]any{"columns": g.some("*.*.ssn", "public.a.b", "public.c.d"), "transform": g.one("redact", "null", "hash")}
		g.maybe(mask, "order", g.one("deny", "allow"))
		masks[fmt.Sprintf("m%d", i)] = mask
	}
	config["identities"], config["query_rules"], config["masking_policies"], config["approval_groups"] = identities, rules, masks, groups
	return config
}

// otherWords says the same: sets in another order, names and defaults written
// out, empty strings for what is left out.
func (g generator) otherWords(config attributes) attributes {
	defaults := map[string]map[string]any{
		"gateways":         {"default_effect": "deny", "unparsed": "deny"},
		"identities":       {"database_role": "", "name_from": ""},
		"query_rules":      {"mode": "enforce", "message": ""},
		"masking_policies": {"mode": "enforce", "order": "deny", "unless": ""},
		"approval_groups":  {"required": 1, "expires_in": "15m"},
	}
	out := attributes{}
	for part, objects := range config {
		all, _ := objects.(map[string]any)
		said := map[string]any{}
		for name, object := range all {
			before, _ := object.(map[string]any)
			after := map[string]any{"name": name}
			g.perhaps(after, defaults[part])
			maps.Copy(after, before)
			for attribute, value := range after {
				if set, ok := value.([]string); ok {
					set = slices.Clone(set)
					g.Shuffle(len(set), func(i, j int) { set[i], set[j] = set[j], set[i] })
					after[attribute] = set
				}
			}
			said[name] = after
		}
		out[part] = said
	}
	return out
}

func (g generator) perhaps(into, from map[string]any) {
	for name, value := range from {
		g.maybe(into, name, value)
	}
}

// unknownSomewhere makes one input unknown: a map, an object or an attribute.
func (g generator) unknownSomewhere(config attributes) attributes {
	out := maps.Clone(config)
	part := g.one("gateways", "identities", "query_rules", "approval_groups")
	depth := g.IntN(3)
	if depth == 0 {
		out[part] = unknown{}
		return out
	}
	objects, _ := config[part].(map[string]any)
	objects = maps.Clone(objects)
	name := slices.Sorted(maps.Keys(objects))[g.IntN(len(objects))]
	out[part] = objects
	if depth == 1 {
		objects[name] = unknown{}
		return out
	}
	object, _ := objects[name].(map[string]any)
	object = maps.Clone(object)
	attribute := slices.Sorted(maps.Keys(object))[g.IntN(len(object))]
	object[attribute] = unknown{}
	objects[name] = object
	return out
}
