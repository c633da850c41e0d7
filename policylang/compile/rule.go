package compile

import (
	"fmt"
	"slices"
	"time"

	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/policylang/condition"
)

// The variables that a session fixes.
const sessionDeps = condition.DependsIdentity | condition.DependsSession

// clauses is a condition taken apart by when its conjuncts can be evaluated.
type clauses struct {
	all       []*condition.Conjunct // as written
	session   []int32               // atoms that the session fixes, see sessionAtoms
	statement []*condition.Conjunct // what the statement decides
	moment    []*condition.Conjunct // what mentions now
	keys      []condition.Key       // of the statement; nil if it must always be tried
}

// mixed reports whether a conjunct mentions the statement together with the
// identity or session, so that sessions of one class may differ in it.
func (c *clauses) mixed() bool {
	return slices.ContainsFunc(c.statement, func(j *condition.Conjunct) bool { return j.Deps().Has(sessionDeps) })
}

// indexable returns the conjuncts whose keys are those of statements alone.
func (c *clauses) indexable() []*condition.Conjunct {
	var out []*condition.Conjunct
	for _, j := range c.statement {
		if !j.Deps().Has(sessionDeps) {
			out = append(out, j)
		}
	}
	return out
}

// textual reports whether a conjunct mentions the statement's exact text.
func (c *clauses) textual() bool {
	return slices.ContainsFunc(c.all, func(j *condition.Conjunct) bool { return j.Deps().Has(condition.DependsText) })
}

// rule is a compiled query rule.
type rule struct {
	*policylang.QueryRule
	clauses
	timeout time.Duration
	common  bool // in the index that all classes share
}

// grants reports whether a match widens what is possible.
func (r *rule) grants() bool { return r.Effect == policylang.EffectAllow }

// counts reports whether a condition's value counts as a match of the rule.
func (r *rule) counts(v condition.Value) bool {
	if r.grants() {
		return v == condition.True
	}
	return v != condition.False
}

// mask is a compiled masking policy.
type mask struct {
	*policylang.MaskingPolicy
	clauses // of unless
	never   bool
}

// applies reports whether the mask applies for a value of unless.
func (m *mask) applies(v condition.Value) bool { return m.never || v != condition.True }

// rules makes the rules, and counts the rules that each key could find.
func (b *builder) rules() ([]rule, map[condition.Key]int, error) {
	rules := make([]rule, len(b.policy.QueryRules))
	frequency := make(map[condition.Key]int, len(rules))
	for i := range rules {
		b.yield()
		o := &b.policy.QueryRules[i]
		r := rule{QueryRule: o, clauses: takeApart(b.condition(condition.KindRule, o.When))}
		if o.StatementTimeout != "" {
			var err error
			if r.timeout, err = time.ParseDuration(o.StatementTimeout); err != nil {
				return nil, nil, fmt.Errorf("rule %q: read statement_timeout: %w", o.Name, err)
			}
		}
		for _, j := range r.indexable() {
			for _, k := range j.Keys() {
				frequency[k]++
			}
		}
		rules[i] = r
	}
	for i := range rules {
		b.yield()
		rules[i].keys = rarest(rules[i].indexable(), frequency)
	}
	return rules, frequency, nil
}

func (b *builder) masks() []mask {
	masks := make([]mask, len(b.policy.MaskingPolicies))
	for i := range masks {
		o := &b.policy.MaskingPolicies[i]
		masks[i] = mask{MaskingPolicy: o, never: o.Unless == ""}
		if !masks[i].never {
			masks[i].clauses = takeApart(b.condition(condition.KindMask, o.Unless))
		}
	}
	return masks
}

// takeApart sorts conjuncts by when they can be evaluated; the session's are
// numbered later, by newSessionAtoms.
func takeApart(c *condition.Condition) clauses {
	out := clauses{all: c.Conjuncts()}
	for _, j := range out.all {
		switch d := j.Deps(); {
		case d.Has(condition.DependsNow):
			out.moment = append(out.moment, j)
		case d.Has(condition.DependsStatement):
			out.statement = append(out.statement, j)
		}
	}
	return out
}

// rarest returns the keys of the conjunct whose keys the fewest rules share.
func rarest(conjuncts []*condition.Conjunct, frequency map[condition.Key]int) []condition.Key {
	var best []condition.Key
	least := 0
	for _, j := range conjuncts {
		sum := 0
		for _, k := range j.Keys() {
			sum += frequency[k]
		}
		if j.Keys() != nil && (best == nil || sum < least) {
			best, least = j.Keys(), sum
		}
	}
	return best
}
