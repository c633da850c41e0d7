package compile

import (
	"fmt"
	"strings"

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
		b.yield()
		if c.Never() {
			problems = append(problems, warning(r, "the rule never matches: parts of its condition exclude each other", "Mend the condition or remove the rule."))
			continue
		}
		if r.Mode == policylang.ModeEnforce {
			byEffect[r.Effect] = append(byEffect[r.Effect], implied{i, c})
		}
	}
	shadow := func(effect, by policylang.Effect, done string) {
		implications(b.yield, byEffect[effect], byEffect[by], func(narrow, wide int) bool {
			problems = append(problems, warning(&b.policy.QueryRules[narrow],
				fmt.Sprintf("the rule has no effect: rule %q %s every statement that it matches", b.policy.QueryRules[wide].Name, done),
				"Narrow the other rule, or remove this one."))
			return true
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

// unknownNames warns of conditions that compare with a name that nothing has: a
// gateway that is not declared, a kind or class that does not exist, a group
// that no identity is in.
func (b *builder) unknownNames() []policylang.Problem {
	known := b.knownNames()
	var problems []policylang.Problem
	var constants []condition.Key
	for _, p := range b.places {
		c := b.exprs[p.expression].condition
		if c == nil {
			continue
		}
		b.yield()
		for _, j := range c.Conjuncts() {
			constants = j.AppendConstants(constants[:0])
			for _, v := range constants {
				names, checked := known[v.Source]
				if !checked || names.has[v.Value] {
					continue
				}
				if len(problems) == maxUnknownNames {
					return problems
				}
				path := p.path
				path.Offset, path.Length = j.Offset, j.Length
				problems = append(problems, policylang.Problem{
					Severity:   policylang.SeverityWarning,
					Path:       path,
					Summary:    fmt.Sprintf("%s is never %q", v.Source, v.Value),
					Advice:     names.advice,
					Suggestion: names.suggest(v.Value),
				})
			}
		}
	}
	return problems
}

// maxUnknownNames is how many such warnings are worth reading.
const maxUnknownNames = 100

// vocabulary is all values that a field can have.
type vocabulary struct {
	values []string
	has    map[string]bool
	advice string
}

func newVocabulary(advice string, values ...string) vocabulary {
	v := vocabulary{values: values, has: make(map[string]bool, len(values)), advice: advice}
	for _, s := range values {
		v.has[s] = true
	}
	return v
}

// suggest returns the value that was perhaps meant: the nearest, or the only one
// of which this is the first word.
func (v vocabulary) suggest(value string) string {
	if s := policylang.Suggest(value, v.values); s != "" {
		return s
	}
	longer := ""
	for _, s := range v.values {
		if len(s) > len(value) && s[len(value)] == ' ' && strings.EqualFold(s[:len(value)], value) {
			if longer != "" {
				return ""
			}
			longer = s
		}
	}
	return longer
}

func (b *builder) knownNames() map[string]vocabulary {
	known := map[string]vocabulary{
		"identity.kind":        newVocabulary("A kind is human, service or agent.", "human", "service", "agent"),
		"identity.auth_method": newVocabulary("A method is token, certificate, scram or oauthbearer.", "token", "certificate", "scram", "oauthbearer"),
		"statement.class":      newVocabulary("A class is read, write, ddl, role, function or misc.", "read", "write", "ddl", "role", "function", "misc"),
		"session.signs":        newVocabulary("A sign is "+strings.Join(policylang.Signs(), ", ")+".", policylang.Signs()...),
	}
	commands := newVocabulary("A command is PostgreSQL's tag in capitals, such as SELECT, TRUNCATE TABLE or DROP INDEX.", policylang.Commands()...)
	known["statement.command"], known["statement.commands"] = commands, commands
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
		known["session.gateway"] = newVocabulary("Only gateways of the policy evaluate it.", gateways...)
	}
	if !open && len(b.policy.Identities) > 0 {
		known["identity.groups"] = newVocabulary("No identity of the policy is in the group.", sortedSet(groups)...)
	}
	return known
}
