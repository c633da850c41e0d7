package bypasstest

import (
	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/testacc/bypass"
)

// policy is what the corpus asks for, in our own words.
func (b *bench) policy(want bypass.Policy) *policylang.Policy {
	p := &policylang.Policy{
		Gateways: []policylang.Gateway{{
			Name:     "bypass",
			Upstream: policylang.Upstream{Host: b.cluster.Host, Port: b.cluster.Port, TLS: "disable"},
			Issuers:  []policylang.Issuer{{Name: "demo", URL: b.issuer.URL(), Audience: "postern"}},
		}},
		ApprovalGroups: []policylang.ApprovalGroup{{Name: "dba", Members: []string{"dba"}}},
		QueryRules:     []policylang.QueryRule{{Name: "everything", When: "true", Effect: policylang.EffectAllow}},
	}
	for _, role := range bypass.Roles() {
		p.Identities = append(p.Identities, policylang.Identity{Name: role, Kind: "human", When: "token.sub == '" + role + "'"})
	}
	p.MaskingPolicies = masks(want)
	if want.Guarded {
		p.QueryRules = append(p.QueryRules, guards()...)
	}
	return p
}

func masks(want bypass.Policy) []policylang.MaskingPolicy {
	redacted := policylang.MaskingPolicy{Name: "redacted", Transform: policylang.TransformRedact, Columns: want.Protect}
	lastFour := policylang.MaskingPolicy{Name: "last_four", Transform: policylang.TransformPartial, KeepLast: 4}
	for column, how := range bypass.Standard() {
		switch how {
		case bypass.LastFour:
			lastFour.Columns = append(lastFour.Columns, column)
		default:
			redacted.Columns = append(redacted.Columns, column)
		}
	}
	return []policylang.MaskingPolicy{redacted, lastFour}
}

// guards are the rules of the corpus' second policy.
func guards() []policylang.QueryRule {
	deny := func(name, when string) policylang.QueryRule {
		return policylang.QueryRule{Name: name, When: when, Effect: policylang.EffectDeny}
	}
	return []policylang.QueryRule{
		deny("orders", `statement.writes_to("public.orders")`),
		deny("catalogs", `statement.writes_to("pg_catalog.*")`),
		deny("code", `statement.class == "function"`),
		deny("server", `statement.class == "role"`),
		deny("lock", `statement.commands.exists(c, c == "LOCK TABLE")`),
		deny("schema", `statement.commands.exists(c, c.startsWith("DROP ") || c.startsWith("TRUNCATE") || c.startsWith("ALTER ") || c.startsWith("GRANT") || c.startsWith("REVOKE") || c.startsWith("CREATE DATABASE"))`),
		deny("create", `statement.commands.exists(c, c in ["CREATE FUNCTION", "CREATE PROCEDURE", "CREATE TRIGGER", "CREATE RULE", "CREATE EVENT TRIGGER",
			"CREATE EXTENSION", "CREATE SERVER", "CREATE PUBLICATION", "CREATE SUBSCRIPTION"])`),
		{
			Name: "customers", Effect: policylang.EffectHold, ApprovalGroup: "dba",
			When: `statement.relations.exists(r, r.schema == "public" && r.name == "customers" && r.verb in ["update", "delete"])`,
		},
	}
}
