package compile

import (
	"fmt"

	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/policylang/condition"
)

// ineffective warns of rules that can never have an effect: their conditions
// contradict themselves, or a stricter rule matches whenever they do.
func (b *builder) ineffective() []policylang.Problem {
	var problems []policylang.Problem
	byEffect := make(map[policylang.Effect][]implied)
	for i := range b.policy.QueryRules {
		r := &b.policy.QueryRules[i]
		c := b.condition(condition.KindRule, r.When)
		if c.Never() {
			problems = append(problems, warning(r, "the rule never matches: parts of its condition exclude each other", "Mend the condition or remove the rule."))
			continue
		}
		if r.Mode == policylang.ModeEnforce {
			byEffect[r.Effect] = append(byEffect[r.Effect], implied{r.Name, c})
		}
	}
	shadow := func(effect, by policylang.Effect, done string) {
		reported := make(map[int]bool)
		implications(byEffect[effect], byEffect[by], func(narrow, wide int) {
			if reported[narrow] {
				return
			}
			reported[narrow] = true
			name := byEffect[effect][narrow].name
			r, _ := b.rule(name)
			problems = append(problems, warning(r,
				fmt.Sprintf("the rule has no effect: rule %q %s every statement that it matches", byEffect[by][wide].name, done),
				"Narrow the other rule, or remove this one."))
		})
	}
	shadow(policylang.EffectAllow, policylang.EffectDeny, "denies")
	shadow(policylang.EffectHold, policylang.EffectDeny, "denies")
	shadow(policylang.EffectAllow, policylang.EffectHold, "holds")
	return append(problems, b.unknownNames()...)
}

func warning(r *policylang.QueryRule, summary, advice string) policylang.Problem {
	return policylang.Problem{
		Severity: policylang.SeverityWarning,
		Path:     policylang.Path{Kind: policylang.KindQueryRule, Name: r.Name, Attr: "when", Length: len(r.When)},
		Summary:  summary,
		Advice:   advice,
	}
}

func (b *builder) rule(name string) (*policylang.QueryRule, bool) {
	for i := range b.policy.QueryRules {
		if b.policy.QueryRules[i].Name == name {
			return &b.policy.QueryRules[i], true
		}
	}
	return nil, false
}

// unknownNames warns of conditions that compare with a name that nothing has: a
// gateway that is not declared, a kind or class that does not exist, a group
// that no identity is in.
func (b *builder) unknownNames() []policylang.Problem {
	known := b.knownNames()
	var problems []policylang.Problem
	for _, p := range b.places() {
		c := b.exprs[p.expression].condition
		if c == nil {
			continue
		}
		for _, j := range c.Conjuncts() {
			for _, v := range j.Constants() {
				names, checked := known[v.Source]
				if !checked || contains(names.values, v.Value) {
					continue
				}
				path := p.path
				path.Offset, path.Length = j.Offset, j.Length
				problems = append(problems, policylang.Problem{
					Severity:   policylang.SeverityWarning,
					Path:       path,
					Summary:    fmt.Sprintf("%s is never %q", v.Source, v.Value),
					Advice:     names.advice,
					Suggestion: policylang.Suggest(v.Value, names.values),
				})
			}
		}
	}
	return problems
}

// vocabulary is all values that a field can have.
type vocabulary struct {
	values []string
	advice string
}

func (b *builder) knownNames() map[string]vocabulary {
	known := map[string]vocabulary{
		"identity.kind":        {[]string{"human", "service", "agent"}, "A kind is human, service or agent."},
		"identity.auth_method": {[]string{"token", "certificate", "scram", "oauthbearer"}, "A method is token, certificate, scram or oauthbearer."},
		"statement.class":      {[]string{"read", "write", "ddl", "role", "function", "misc"}, "A class is read, write, ddl, role, function or misc."},
	}
	var gateways, groups []string
	for i := range b.policy.Gateways {
		gateways = append(gateways, b.policy.Gateways[i].Name)
	}
	open := false
	for i := range b.policy.Identities {
		groups = append(groups, b.policy.Identities[i].Groups...)
		open = open || b.policy.Identities[i].GroupsFrom != ""
	}
	if len(gateways) > 0 {
		known["session.gateway"] = vocabulary{gateways, "Only gateways of the policy evaluate it."}
	}
	if !open && len(b.policy.Identities) > 0 {
		known["identity.groups"] = vocabulary{sortedSet(groups), "No identity of the policy is in the group."}
	}
	return known
}

func contains(values []string, v string) bool {
	for _, w := range values {
		if v == w {
			return true
		}
	}
	return false
}
