package main

import (
	"testing"

	"github.com/posternhq/postern/policylang"
)

func TestChangeLeaning(t *testing.T) {
	rule := func(effect policylang.Effect, when string) policylang.QueryRule {
		return policylang.QueryRule{Name: "r", Effect: effect, When: when}
	}
	mask := policylang.MaskingPolicy{Name: "m", Columns: []string{"a.b.c"}, Transform: policylang.TransformHash}
	group := policylang.ApprovalGroup{Name: "g", Members: []string{"ana", "ben"}}
	gateway := policylang.Gateway{Name: "g", Upstream: policylang.Upstream{Host: "db"}}
	ana := policylang.Identity{Name: "ana", Kind: "human", When: "token.sub == 'a'"}
	limit := rule(policylang.EffectLimit, "true")
	limit.MaxRows, limit.StatementTimeout = 100, "1m"

	for _, tt := range []struct {
		name   string
		before policylang.Object
		after  policylang.Object
		want   leaning
	}{
		{"allow less", ptr(rule("allow", "statement.read_only")), ptr(rule("allow", "statement.read_only && session.tls")), leansNarrow},
		{"allow fewer commands", ptr(rule("allow", "statement.command in ['SELECT', 'SHOW']")), ptr(rule("allow", "statement.command == 'SELECT'")), leansNarrow},
		{"deny less", ptr(rule("deny", "statement.ddl")), ptr(rule("deny", "statement.ddl && session.tls")), leansWide},
		{"hold more", &policylang.QueryRule{Name: "r", Effect: "hold", When: "statement.ddl && session.tls", ApprovalGroup: "g"}, &policylang.QueryRule{Name: "r", Effect: "hold", When: "statement.ddl", ApprovalGroup: "g"}, leansNarrow},
		{"other people approve", &policylang.QueryRule{Name: "r", Effect: "hold", When: "true", ApprovalGroup: "g"}, &policylang.QueryRule{Name: "r", Effect: "hold", When: "true", ApprovalGroup: "h"}, leansEither},
		{"allow something else", ptr(rule("allow", "statement.read_only")), ptr(rule("allow", "statement.writes")), leansEither},
		{"the same in other words", ptr(rule("allow", "session.tls && statement.ddl")), ptr(rule("allow", "statement.ddl && session.tls")), leansNowhere},
		{"another message", ptr(rule("deny", "true")), &policylang.QueryRule{Name: "r", Effect: "deny", When: "true", Message: "no"}, leansNowhere},
		{"deny becomes allow", ptr(rule("deny", "true")), ptr(rule("allow", "true")), leansWide},
		{"allow becomes a limit", ptr(rule("allow", "true")), &limit, leansEither},
		{"deny of more becomes hold", ptr(rule("deny", "statement.ddl")), &policylang.QueryRule{Name: "r", Effect: "hold", When: "true", ApprovalGroup: "g"}, leansEither},
		{"deny is only observed", ptr(rule("deny", "true")), &policylang.QueryRule{Name: "r", Effect: "deny", When: "true", Mode: policylang.ModeObserve}, leansWide},
		{"allow is only observed", ptr(rule("allow", "true")), &policylang.QueryRule{Name: "r", Effect: "allow", When: "true", Mode: policylang.ModeObserve}, leansNarrow},
		{"deny is enforced", &policylang.QueryRule{Name: "r", Effect: "deny", When: "true", Mode: policylang.ModeObserve}, ptr(rule("deny", "true")), leansNarrow},
		{"observed still", &policylang.QueryRule{Name: "r", Effect: "deny", When: "true", Mode: policylang.ModeObserve}, &policylang.QueryRule{Name: "r", Effect: "allow", When: "true", Mode: policylang.ModeObserve}, leansNowhere},
		{"fewer rows", &limit, with(limit, func(r *policylang.QueryRule) { r.MaxRows = 50 }), leansNarrow},
		{"as many rows as there are", &limit, with(limit, func(r *policylang.QueryRule) { r.MaxRows = 0 }), leansWide},
		{"fewer rows, more time", &limit, with(limit, func(r *policylang.QueryRule) { r.MaxRows, r.StatementTimeout = 50, "2m" }), leansEither},
		{"the same time", &limit, with(limit, func(r *policylang.QueryRule) { r.StatementTimeout = "60s" }), leansNowhere},
		{"a reason", &limit, with(limit, func(r *policylang.QueryRule) { r.RequireReason = true }), leansNarrow},

		{"more columns", &mask, with(mask, func(m *policylang.MaskingPolicy) { m.Columns = []string{"a.b.c", "a.b.d"} }), leansNarrow},
		{"other columns", &mask, with(mask, func(m *policylang.MaskingPolicy) { m.Columns = []string{"a.b.d"} }), leansEither},
		{"somebody sees", &mask, with(mask, func(m *policylang.MaskingPolicy) { m.Unless = "identity.in_group('pii')" }), leansWide},
		{"redacted", &mask, with(mask, func(m *policylang.MaskingPolicy) { m.Transform = policylang.TransformRedact }), leansNarrow},
		{"in part", &mask, with(mask, func(m *policylang.MaskingPolicy) { m.Transform = policylang.TransformPartial }), leansWide},
		{"predicates", &mask, with(mask, func(m *policylang.MaskingPolicy) { m.Predicates = policylang.KnobEquality }), leansWide},
		{"observed", &mask, with(mask, func(m *policylang.MaskingPolicy) { m.Mode = policylang.ModeObserve }), leansWide},

		{"more approvers", &group, with(group, func(g *policylang.ApprovalGroup) { g.Members = []string{"ana", "ben", "cy"} }), leansWide},
		{"two must approve", &group, with(group, func(g *policylang.ApprovalGroup) { g.Required = 2 }), leansNarrow},
		{"in less time", &group, with(group, func(g *policylang.ApprovalGroup) { g.ExpiresIn = "5m" }), leansNarrow},
		{"tokens of fewer", &ana, with(ana, func(i *policylang.Identity) { i.When += " && token.iss == 'x'" }), leansNarrow},
		{"other groups", &ana, with(ana, func(i *policylang.Identity) { i.Groups = []string{"dba"} }), leansEither},
		{"allowed by default", &gateway, with(gateway, func(g *policylang.Gateway) { g.DefaultEffect = policylang.EffectAllow }), leansWide},
		{"another host", &gateway, with(gateway, func(g *policylang.Gateway) { g.Upstream.Host = "db2" }), leansEither},
		{"two kinds", &ana, &gateway, leansEither},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before, after := canonical(tt.before), canonical(tt.after)
			if got := changeLeaning(before, after); got != tt.want {
				t.Errorf("%s, want %s", got, tt.want)
			}
			if got := changeLeaning(after, before); got != tt.want.mirrored() {
				t.Errorf("back: %s, want %s", got, tt.want.mirrored())
			}
		})
	}
}

func ptr[T any](v T) *T { return &v }

func with[T any](v T, change func(*T)) *T {
	change(&v)
	return &v
}

// canonical is an object with its defaults.
func canonical(o policylang.Object) policylang.Object {
	var p policylang.Policy
	p.Add(o)
	sorted := p.Sorted()
	return sorted.Objects()[0]
}
