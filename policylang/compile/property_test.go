package compile_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/policylang/compile"
	"github.com/posternhq/postern/policylang/condition"
)

// answer is everything that a policy says about a request.
type answer struct {
	decision *policylang.Decision
	masks    []string
}

func ask(p *compile.Program, q policylang.Request) answer {
	e := p.Evaluator(q.Subject, q.Session)
	a := answer{decision: e.Decide(q.Facts, q.Now)}
	for _, m := range e.Masks(q.Now).Masks {
		if !m.Observe {
			a.masks = append(a.masks, m.Policy)
		}
	}
	return a
}

// wider says in what the answer permits more than another; empty if in nothing.
// With approvals, what people must approve first is as good as denied.
func (a answer) wider(than answer, approvals bool) string {
	x, y := a.decision, than.decision
	rank := map[policylang.Effect]int{policylang.EffectDeny: 0, policylang.EffectHold: 1, policylang.EffectAllow: 2}
	if approvals {
		rank[policylang.EffectHold] = 0
	}
	lacks := func(have, want []string) bool {
		return slices.ContainsFunc(want, func(s string) bool { return !slices.Contains(have, s) })
	}
	looser := func(a, b int64) bool { return b != 0 && (a == 0 || a > b) }
	switch {
	case rank[x.Effect] > rank[y.Effect]:
		return fmt.Sprintf("%s rather than %s", x.Effect, y.Effect)
	case x.Effect == policylang.EffectHold && y.Effect == policylang.EffectHold && lacks(x.ApprovalGroups, y.ApprovalGroups):
		return "fewer approvals"
	case looser(x.Limits.MaxRows, y.Limits.MaxRows):
		return "more rows"
	case looser(int64(x.Limits.StatementTimeout), int64(y.Limits.StatementTimeout)):
		return "more time"
	case y.Limits.ReadOnly && !x.Limits.ReadOnly, y.Limits.RequireReason && !x.Limits.RequireReason:
		return "fewer obligations"
	case lacks(a.masks, than.masks):
		return "fewer masks"
	}
	return ""
}

// checkProperties checks what must hold of any policy and requests.
func checkProperties(t testing.TB, seed uint64) {
	t.Helper()
	r := newRandom(seed)
	policy := r.policy()
	program := mustCompile(t, policy, "orders")
	shuffled := mustCompile(t, r.shuffled(policy), "orders")
	if program.Digest() != shuffled.Digest() {
		t.Fatalf("the order of objects changes the digest of\n%s", describe(policy))
	}
	changes := r.narrowings(t, policy)
	facts := []*policylang.Facts{r.request().Facts, r.request().Facts} // met again at other times and by others
	for range 8 {
		q := r.request()
		q.Facts = pick(r, facts...)
		got := ask(program, q)
		same := func(name string, want answer) {
			t.Helper()
			if diff := cmp.Diff(erringRules(want.decision), erringRules(got.decision)) + cmp.Diff(want.masks, got.masks); diff != "" {
				t.Fatalf("%s (-want +got):\n%s\n%s\nsubject %+v\nsession %+v\nfacts %+v\nnow %v", name, diff, describe(policy), q.Subject, q.Session, q.Facts, q.Now)
			}
		}
		same("differs from the reference", reference(t, policy, q))
		same("differs when objects are permuted", ask(shuffled, q))
		for _, c := range changes {
			if w := ask(c.narrow, q).wider(ask(c.wide, q), c.approvals); w != "" {
				t.Fatalf("%s widens: %s\n%s\nsubject %+v\nfacts %+v", c.name, w, describe(policy), q.Subject, q.Facts)
			}
		}
		alone := q
		person := *q.Subject
		person.Actor = nil
		alone.Subject = &person
		if q.Subject.Actor == nil || strings.Contains(describe(policy), "identity.actor") {
			continue
		}
		agent := q
		agent.Subject = q.Subject.Actor
		if w := got.wider(ask(program, alone), false) + got.wider(ask(program, agent), false); w != "" {
			t.Fatalf("agent and person together are wider than one of them: %s\n%s", w, describe(policy))
		}
	}
}

// erringRules returns the decision without the texts of its errors: of a
// condition with two errors either may be told.
func erringRules(d *policylang.Decision) *policylang.Decision {
	c := *d
	c.Errors = slices.Clone(d.Errors)
	for i := range c.Errors {
		c.Errors[i].Err = ""
	}
	c.Errors = slices.Compact(c.Errors)
	return &c
}

// narrowing is a pair of policies of which one must never be wider. A hold rule
// lets approvers pass what no rule allows: with approvals, that is not counted.
type narrowing struct {
	name         string
	narrow, wide *compile.Program
	approvals    bool
}

func (r random) narrowings(t testing.TB, p policylang.Policy) []narrowing {
	t.Helper()
	base := mustCompile(t, p, "orders")
	with := func(change func(*policylang.Policy)) *compile.Program {
		q := p
		q.QueryRules, q.MaskingPolicies = slices.Clone(p.QueryRules), slices.Clone(p.MaskingPolicies)
		change(&q)
		return mustCompile(t, q, "orders")
	}
	var out []narrowing
	for _, effect := range []policylang.Effect{policylang.EffectDeny, policylang.EffectHold, policylang.EffectLimit} {
		extra := r.rule("extra", effect)
		out = append(out, narrowing{"adding " + string(effect) + " when " + extra.When, with(func(q *policylang.Policy) { q.QueryRules = append(q.QueryRules, extra) }), base, effect == policylang.EffectHold})
	}
	i := r.IntN(len(p.QueryRules))
	if p.QueryRules[i].Effect == policylang.EffectAllow && p.Gateways[0].DefaultEffect == policylang.EffectDeny {
		out = append(out, narrowing{"removing allow " + p.QueryRules[i].Name, with(func(q *policylang.Policy) { q.QueryRules = slices.Delete(q.QueryRules, i, i+1) }), base, false})
	}
	when := func(text string) *compile.Program {
		return with(func(q *policylang.Policy) { q.QueryRules[i].When = text })
	}
	if p.Gateways[0].DefaultEffect == policylang.EffectDeny {
		erring := when("identity.claims.never_there == 'x'")
		name, hold := "an erring condition of "+p.QueryRules[i].Name, p.QueryRules[i].Effect == policylang.EffectHold
		out = append(out, narrowing{name, erring, when("true"), hold}, narrowing{name, erring, when("false"), hold})
	}
	if len(p.MaskingPolicies) > 0 {
		unless := func(text string) *compile.Program {
			return with(func(q *policylang.Policy) { q.MaskingPolicies[0].Unless = text })
		}
		out = append(out, narrowing{"an erring unless", unless("identity.claims.never_there == 'x'"), unless("true"), false})
	}
	return out
}

// reference decides by the text of the language's definition: each rule is
// evaluated whole, one after the other.
func reference(t testing.TB, p policylang.Policy, q policylang.Request) answer {
	t.Helper()
	a := referenceSide(t, p, q, q.Subject, false)
	if q.Subject.Actor == nil {
		return a
	}
	b := referenceSide(t, p, q, q.Subject.Actor, true)
	return meet(a, b)
}

func evaluate(t testing.TB, kind condition.Kind, text string, in condition.Input) (condition.Value, error) {
	t.Helper()
	c, problems := condition.Compile(kind, text)
	if c == nil {
		t.Fatalf("%s: %v", text, problems)
	}
	return c.Eval(&in)
}

// lastingError is the error of an unless as far as it does not mention now.
func lastingError(t testing.TB, unless string, in condition.Input) error {
	t.Helper()
	c, problems := condition.Compile(condition.KindMask, unless)
	if c == nil {
		t.Fatalf("%s: %v", unless, problems)
	}
	v, failure := condition.True, error(nil)
	for _, j := range c.Conjuncts() {
		if j.Deps().Has(condition.DependsNow) {
			continue
		}
		w, err := j.Eval(&in)
		v = v.And(w)
		if failure == nil {
			failure = err
		}
	}
	if v != condition.Error {
		return nil
	}
	return failure
}

func referenceSide(t testing.TB, p policylang.Policy, q policylang.Request, s *policylang.Subject, delegated bool) answer {
	t.Helper()
	in := condition.Input{Subject: s, Delegated: delegated, Session: q.Session, Facts: q.Facts, Now: q.Now}
	d := &policylang.Decision{}
	var a answer
	for _, o := range p.MaskingPolicies {
		v, _ := evaluate(t, condition.KindMask, o.Unless, in)
		if v != condition.True {
			a.masks = append(a.masks, o.Name)
		}
		if err := lastingError(t, o.Unless, in); err != nil {
			d.Errors = append(d.Errors, policylang.RuleError{Rule: o.Name, Err: err.Error()})
		}
	}
	byEffect := make(map[policylang.Effect][]policylang.QueryRule)
	uncertain := make(map[policylang.Effect][]condition.Value)
	for _, o := range p.QueryRules {
		v, err := evaluate(t, condition.KindRule, o.When, in)
		if err != nil {
			d.Errors = append(d.Errors, policylang.RuleError{Rule: o.Name, Err: err.Error()})
		}
		if v == condition.False || v != condition.True && o.Effect == policylang.EffectAllow {
			continue
		}
		if o.Mode == policylang.ModeObserve {
			d.Observed = append(d.Observed, policylang.Observation{Rule: o.Name, Effect: o.Effect})
			continue
		}
		byEffect[o.Effect] = append(byEffect[o.Effect], o)
		uncertain[o.Effect] = append(uncertain[o.Effect], v)
	}
	d.ByDefault, d.Effect = true, p.Gateways[0].DefaultEffect
	for _, e := range []policylang.Effect{policylang.EffectDeny, policylang.EffectHold, policylang.EffectAllow} {
		if rules := byEffect[e]; len(rules) > 0 {
			d.ByDefault, d.Effect = false, e
			referenceBlame(d, rules, uncertain[e])
			break
		}
	}
	for _, o := range byEffect[policylang.EffectLimit] {
		timeout, err := time.ParseDuration(o.StatementTimeout)
		if err != nil {
			t.Fatal(err)
		}
		if d.Limits.MaxRows == 0 || o.MaxRows < d.Limits.MaxRows {
			d.Limits.MaxRows = o.MaxRows
		}
		if d.Limits.StatementTimeout == 0 || timeout < d.Limits.StatementTimeout {
			d.Limits.StatementTimeout = timeout
		}
		d.Limits.ReadOnly = d.Limits.ReadOnly || o.ReadOnly
		d.Limits.Rules = append(d.Limits.Rules, o.Name)
	}
	a.decision = d
	return a
}

func referenceBlame(d *policylang.Decision, rules []policylang.QueryRule, values []condition.Value) {
	var messages []string
	for _, o := range rules {
		d.Rules = append(d.Rules, o.Name)
		if o.Message != "" {
			messages = append(messages, o.Message)
		}
		if d.Effect == policylang.EffectHold {
			d.ApprovalGroups = append(d.ApprovalGroups, o.ApprovalGroup)
			if d.HoldMode != "retry" {
				d.HoldMode = "wait"
			}
			if o.HoldMode == "retry" {
				d.HoldMode = "retry"
			}
		}
	}
	slices.Sort(d.ApprovalGroups)
	d.ApprovalGroups = slices.Compact(d.ApprovalGroups)
	switch {
	case d.Effect == policylang.EffectAllow || slices.Contains(values, condition.True):
	case slices.Contains(values, condition.Unknown):
		messages = append(messages, "It could not be ruled out that the statement does this, since not everything in it can be read or resolved.")
	default:
		messages = append(messages, "The rule could not be evaluated, so it was taken to match.")
	}
	d.Message = strings.Join(messages, " ")
}

// meet combines the answers for a person and for its agent.
func meet(a, b answer) answer {
	x, y := a.decision, b.decision
	d := &policylang.Decision{}
	for _, e := range []policylang.Effect{policylang.EffectDeny, policylang.EffectHold, policylang.EffectAllow} {
		if x.Effect != e && y.Effect != e {
			continue
		}
		d.Effect = e
		for _, side := range []*policylang.Decision{x, y} {
			if side.Effect != e {
				continue
			}
			d.Rules = append(d.Rules, side.Rules...)
			d.ApprovalGroups = append(d.ApprovalGroups, side.ApprovalGroups...)
			if d.HoldMode != "retry" {
				d.HoldMode = side.HoldMode
			}
			if !strings.Contains(d.Message, side.Message) {
				d.Message = strings.TrimSpace(d.Message + " " + side.Message)
			}
		}
		break
	}
	set := func(s []string) []string {
		slices.Sort(s)
		return slices.Compact(s)
	}
	d.Rules, d.ApprovalGroups = set(d.Rules), set(d.ApprovalGroups)
	d.ByDefault = len(d.Rules) == 0
	least := func(a, b int64) int64 {
		if a == 0 || b != 0 && b < a {
			return b
		}
		return a
	}
	d.Limits = policylang.Limits{
		MaxRows: least(x.Limits.MaxRows, y.Limits.MaxRows), StatementTimeout: time.Duration(least(int64(x.Limits.StatementTimeout), int64(y.Limits.StatementTimeout))),
		ReadOnly: x.Limits.ReadOnly || y.Limits.ReadOnly, Rules: set(slices.Concat(x.Limits.Rules, y.Limits.Rules)),
	}
	d.Errors = slices.Concat(x.Errors, y.Errors)
	slices.SortStableFunc(d.Errors, func(a, b policylang.RuleError) int { return strings.Compare(a.Rule+"\x00"+a.Err, b.Rule+"\x00"+b.Err) })
	d.Errors = slices.Compact(d.Errors)
	d.Observed = slices.Concat(x.Observed, y.Observed)
	slices.SortFunc(d.Observed, func(a, b policylang.Observation) int { return strings.Compare(a.Rule, b.Rule) })
	d.Observed = slices.Compact(d.Observed)
	return answer{decision: d, masks: set(slices.Concat(a.masks, b.masks))}
}

func TestProperties(t *testing.T) {
	for seed := range uint64(60) {
		checkProperties(t, seed)
	}
}

func FuzzProperties(f *testing.F) {
	for seed := range uint64(8) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) { checkProperties(t, seed) })
}
