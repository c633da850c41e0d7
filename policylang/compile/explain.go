package compile

import (
	"cmp"
	"slices"
	"time"

	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/policylang/condition"
)

// Explanation says why a statement is decided as it is.
type Explanation struct {
	Decision *policylang.Decision `json:"decision"`
	Masks    *policylang.MaskSet  `json:"masks"`
	Sides    []Side               `json:"sides"` // the subject, then the agents that act for it
}

// Side is the decision as one subject.
type Side struct {
	Subject  string               `json:"subject"`
	Decision *policylang.Decision `json:"decision"`
	Rules    []RuleTrace          `json:"rules"` // those that matched, then the nearest of the others
	Omitted  int                  `json:"omitted,omitempty"`
	Masks    []MaskTrace          `json:"masks,omitempty"`
}

// RuleTrace is how a rule met the statement.
type RuleTrace struct {
	Rule      string            `json:"rule"`
	Effect    policylang.Effect `json:"effect"`
	Mode      policylang.Mode   `json:"mode"`
	Matched   bool              `json:"matched"`
	Near      bool              `json:"near,omitempty"` // a single part of the condition kept it from matching
	Value     condition.Value   `json:"value"`
	Conjuncts []ConjunctTrace   `json:"conjuncts"`
}

// MaskTrace is how a masking policy met the session.
type MaskTrace struct {
	Policy    string          `json:"policy"`
	Mode      policylang.Mode `json:"mode"`
	Applies   bool            `json:"applies"`
	Unless    condition.Value `json:"unless"` // False if the policy has none
	Conjuncts []ConjunctTrace `json:"conjuncts,omitempty"`
}

// ConjunctTrace is the value of one operand of a condition's outermost &&.
type ConjunctTrace struct {
	Text   string          `json:"text"`   // its source
	Offset int             `json:"offset"` // bytes of the condition that it comes from
	Length int             `json:"length"`
	Value  condition.Value `json:"value"`
	Error  string          `json:"error,omitempty"`
}

// maxTraced is how many rules that did not match an explanation shows.
const maxTraced = 20

// Explain decides as [Evaluator.Decide] and says why. It evaluates every rule
// and is meant for people, not for traffic.
func (e *Evaluator) Explain(f *policylang.Facts, now time.Time) Explanation {
	x := Explanation{Decision: e.Decide(f, now), Masks: e.Masks(now)}
	if f == nil {
		return x
	}
	for i := range e.sides {
		x.Sides = append(x.Sides, e.explainSide(&e.sides[i], f, now))
	}
	return x
}

func (e *Evaluator) explainSide(s *side, f *policylang.Facts, now time.Time) Side {
	in := e.program.inputs.get(s, f, now)
	defer e.program.inputs.put(in)
	out := Side{Subject: s.subject.Name, Decision: s.decide(f, now)}
	if f.Transaction {
		out.Decision = e.program.admitted()
	}
	var missed []RuleTrace
	for i := range e.program.rules {
		r := &e.program.rules[i]
		t := RuleTrace{Rule: r.Name, Effect: r.Effect, Mode: r.Mode}
		t.Value, t.Conjuncts = trace(&r.clauses, r.When, in)
		t.Matched = r.counts(t.Value)
		if t.Matched {
			out.Rules = append(out.Rules, t)
			continue
		}
		t.Near = r.missing(t.Conjuncts) == 1 && len(t.Conjuncts) > 1
		missed = append(missed, t)
	}
	slices.SortStableFunc(missed, func(a, b RuleTrace) int {
		return cmp.Compare(e.distance(a), e.distance(b))
	})
	out.Omitted = max(0, len(missed)-maxTraced)
	out.Rules = append(out.Rules, missed[:len(missed)-out.Omitted]...)
	for i := range e.program.masks {
		out.Masks = append(out.Masks, traceMask(&e.program.masks[i], in))
	}
	return out
}

// distance orders rules that did not match: by how many conjuncts failed, and
// of those with equally many the ones of which more held first.
func (e *Evaluator) distance(t RuleTrace) float64 {
	failed := 0
	for _, c := range t.Conjuncts {
		if c.Value != condition.True {
			failed++
		}
	}
	return float64(failed) + 1/float64(2+len(t.Conjuncts))
}

// missing counts the conjuncts that kept the rule from matching.
func (r *rule) missing(conjuncts []ConjunctTrace) int {
	n := 0
	for _, c := range conjuncts {
		if !r.counts(c.Value) {
			n++
		}
	}
	return n
}

func trace(c *clauses, source string, in *condition.Input) (condition.Value, []ConjunctTrace) {
	v := condition.True
	traces := make([]ConjunctTrace, 0, len(c.all))
	for _, j := range c.all {
		w, err := j.Eval(in)
		t := ConjunctTrace{Text: source[j.Offset : j.Offset+j.Length], Offset: j.Offset, Length: j.Length, Value: w}
		if j.Negated {
			t.Text = "!(" + t.Text + ")"
		}
		if err != nil {
			t.Error = err.Error()
		}
		v = v.And(w)
		traces = append(traces, t)
	}
	return v, traces
}

func traceMask(m *mask, in *condition.Input) MaskTrace {
	t := MaskTrace{Policy: m.Name, Mode: m.Mode, Applies: true}
	if !m.never {
		t.Unless, t.Conjuncts = trace(&m.clauses, m.Unless, in)
		t.Applies = m.applies(t.Unless)
	}
	return t
}
