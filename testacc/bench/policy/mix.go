// Package policy measures Postern's decisions beside those of general policy
// engines, OPA (the Go library) and Cedar (cedar-go), on one and the same
// policy. It is a module of its own, so that neither engine is ever a
// dependency of the product. A test keeps the three in agreement.
package policy

import (
	"fmt"
	"strings"

	"github.com/posternhq/postern/policylang"
)

// rule is one rule, which each engine's text is made from. The kinds are the
// realistic mix: by group and relation, by schema written to, by group and
// command, by name and several commands, by database and nested command.
type rule struct {
	name   string
	effect policylang.Effect
	kind   kind
	group  int
	table  int
	number int
}

type kind int

const (
	pgbench kind = iota
	readTable
	writeSchema
	limitSelect
	userCommands
	dropTable
)

// mix returns n rules.
func mix(n int) []rule {
	rules := []rule{{name: "pgbench", effect: policylang.EffectAllow, kind: pgbench}}
	for i := 1; i < n; i++ {
		r := rule{name: fmt.Sprintf("rule_%05d", i), group: i / 10, table: i / 2, number: i}
		switch i % 5 {
		case 0:
			r.effect, r.kind = policylang.EffectAllow, readTable
		case 1:
			r.effect, r.kind = policylang.EffectDeny, writeSchema
		case 2:
			r.effect, r.kind = policylang.EffectLimit, limitSelect
		case 3:
			r.effect, r.kind = policylang.EffectAllow, userCommands
		case 4:
			r.effect, r.kind = policylang.EffectHold, dropTable
		}
		rules = append(rules, r)
	}
	return rules
}

// asPostern writes the rules as a policy of Postern's.
func asPostern(rules []rule) policylang.Policy {
	p := policylang.Policy{
		Gateways: []policylang.Gateway{{
			Name: "orders", Upstream: policylang.Upstream{Host: "db.internal", Credentials: "env:DB"},
			Issuers: []policylang.Issuer{{Name: "corp", URL: "https://login.example.com", Audience: "postern"}},
		}},
		ApprovalGroups: []policylang.ApprovalGroup{{Name: "dba", Members: []string{"ben"}}},
	}
	for _, r := range rules {
		q := policylang.QueryRule{Name: r.name, Effect: r.effect, When: r.cel()}
		switch r.effect {
		case policylang.EffectLimit:
			q.MaxRows = int64(100 + r.number)
		case policylang.EffectHold:
			q.ApprovalGroup = "dba"
		case policylang.EffectAllow, policylang.EffectDeny:
		}
		p.QueryRules = append(p.QueryRules, q)
	}
	return p
}

func (r rule) cel() string {
	switch r.kind {
	case pgbench:
		return `identity.in_group("engineering") && statement.reads("public.pgbench_accounts")`
	case readTable:
		return fmt.Sprintf(`identity.in_group("group%d") && statement.read_only && statement.reads("app%d.table%d")`, r.group, r.group, r.table)
	case writeSchema:
		return fmt.Sprintf(`statement.writes_to("audit%d.*") && !identity.in_group("auditors%d")`, r.table, r.group)
	case limitSelect:
		return fmt.Sprintf(`"group%d" in identity.groups && statement.command == "SELECT"`, r.group)
	case userCommands:
		return fmt.Sprintf(`identity.name == "user%d" && statement.command in ["SELECT", "INSERT"]`, r.number)
	case dropTable:
		return fmt.Sprintf(`session.database == "db%d" && statement.commands.exists(c, c == "DROP TABLE")`, r.group)
	}
	return "false"
}

// asRego writes the rules for OPA, in the form that its rule index likes best.
func asRego(rules []rule) string {
	var b strings.Builder
	b.WriteString("package postern\n\nimport rego.v1\n\n")
	for _, r := range rules {
		fmt.Fprintf(&b, "%s contains %q if {\n", r.effect, r.name)
		for _, line := range r.rego() {
			fmt.Fprintf(&b, "\t%s\n", line)
		}
		b.WriteString("}\n\n")
	}
	b.WriteString(`decision := "deny" if {
	count(deny) > 0
} else := "hold" if {
	count(hold) > 0
} else := "allow" if {
	count(allow) > 0
} else := "deny"
`)
	return b.String()
}

func (r rule) rego() []string {
	switch r.kind {
	case pgbench:
		return []string{`"engineering" in input.identity.groups`, `"public.pgbench_accounts" in input.statement.reads`}
	case readTable:
		return []string{fmt.Sprintf(`"group%d" in input.identity.groups`, r.group), `input.statement.read_only`, fmt.Sprintf(`"app%d.table%d" in input.statement.reads`, r.group, r.table)}
	case writeSchema:
		return []string{fmt.Sprintf(`"audit%d" in input.statement.written_schemas`, r.table), fmt.Sprintf(`not "auditors%d" in input.identity.groups`, r.group)}
	case limitSelect:
		return []string{`input.statement.command == "SELECT"`, fmt.Sprintf(`"group%d" in input.identity.groups`, r.group)}
	case userCommands:
		return []string{fmt.Sprintf(`input.identity.name == "user%d"`, r.number), `input.statement.command in {"SELECT", "INSERT"}`}
	case dropTable:
		return []string{fmt.Sprintf(`input.session.database == "db%d"`, r.group), `"DROP TABLE" in input.statement.commands`}
	}
	return []string{"false"}
}

// asCedar writes the rules for Cedar, which permits or forbids actions: each of
// our effects but deny is an action of its own.
func asCedar(rules []rule) string {
	var b strings.Builder
	for _, r := range rules {
		effect, action := "permit", r.effect
		if r.effect == policylang.EffectDeny {
			effect, action = "forbid", policylang.EffectAllow
		}
		fmt.Fprintf(&b, "@id(%q)\n%s (principal, action == Action::%q, resource)\nwhen { %s };\n", r.name, effect, action, r.cedar())
	}
	return b.String()
}

func (r rule) cedar() string {
	switch r.kind {
	case pgbench:
		return `principal in Group::"engineering" && context.reads.contains("public.pgbench_accounts")`
	case readTable:
		return fmt.Sprintf(`principal in Group::"group%d" && context.read_only && context.reads.contains("app%d.table%d")`, r.group, r.group, r.table)
	case writeSchema:
		return fmt.Sprintf(`context.written_schemas.contains("audit%d") && !(principal in Group::"auditors%d")`, r.table, r.group)
	case limitSelect:
		return fmt.Sprintf(`principal in Group::"group%d" && context.command == "SELECT"`, r.group)
	case userCommands:
		return fmt.Sprintf(`principal == User::"user%d" && ["SELECT", "INSERT"].contains(context.command)`, r.number)
	case dropTable:
		return fmt.Sprintf(`context.database == "db%d" && context.commands.contains("DROP TABLE")`, r.group)
	}
	return "false"
}
