package compile

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/policylang/condition"
)

// class is what sessions share whose fixed conditions come out alike: which
// rules can still match, and how statements were decided.
type class struct {
	program *Program
	values  []condition.Value // of the conjuncts that the session fixes, by rule
	errs    map[int32]error   // of the values that are Error
	index   ruleIndex         // of the rules that the program's own index leaves out
	mixed   bool              // decisions depend on more of a session than its class
	textual bool              // decisions depend on the statement's exact text
	shared  *decisionCache

	masks      []liveMask
	maskErrors []policylang.RuleError
}

// liveMask is a mask and what the session makes of its unless.
type liveMask struct {
	number int32
	*mask
	value condition.Value
}

func newClass(p *Program, o outcome) *class {
	c := &class{program: p, values: make([]condition.Value, len(p.rules)), index: newRuleIndex(), shared: newDecisionCache(&p.caches)}
	for i := range p.rules {
		c.add(int32(i), o)
	}
	for i := range p.masks {
		m := &p.masks[i]
		v, err := o.of(m.session)
		c.masks = append(c.masks, liveMask{int32(i), m, v})
		if err != nil {
			c.maskErrors = append(c.maskErrors, policylang.RuleError{Rule: m.Name, Err: err.Error()})
		}
	}
	return c
}

func (c *class) add(n int32, o outcome) {
	r := &c.program.rules[n]
	v, err := o.of(r.session)
	if v == condition.False {
		return
	}
	c.values[n] = v
	if err != nil {
		if c.errs == nil {
			c.errs = make(map[int32]error)
		}
		c.errs[n] = err
	}
	c.mixed = c.mixed || r.mixed()
	c.textual = c.textual || r.textual()
	if !r.common {
		c.index.add(n, r.keys)
	}
}

// of is the conjunction of the numbered atoms.
func (o outcome) of(atoms []int32) (condition.Value, error) {
	v, failure := condition.True, error(nil)
	for _, n := range atoms {
		if v = v.And(o.values[n]); v == condition.False {
			return condition.False, nil
		}
		if failure == nil {
			failure = o.errs[n]
		}
	}
	if v != condition.Error {
		failure = nil
	}
	return v, failure
}

// match is a rule that matched, or that erred.
type match struct {
	*rule
	value condition.Value
	err   error // if value is Error
}

// pending is a rule that only the moment can decide.
type pending struct {
	*rule
	value condition.Value // of everything but what mentions now
	err   error
}

// judge evaluates everything about a statement that does not mention now.
func (c *class) judge(in *condition.Input) (matches []match, waiting []pending) {
	var buffer [128]int32
	for _, n := range c.candidates(buffer[:0], in.Facts) {
		r := &c.program.rules[n]
		v, err := conjunction(c.values[n], c.errs[n], r.statement, in)
		switch {
		case v == condition.False:
		case len(r.moment) > 0:
			waiting = append(waiting, pending{r, v, err})
		default:
			matches = append(matches, match{r, v, err})
		}
	}
	return matches, waiting
}

// conjunction goes on from a value with further conjuncts.
func conjunction(v condition.Value, failure error, conjuncts []*condition.Conjunct, in *condition.Input) (condition.Value, error) {
	if v == condition.False {
		return v, nil
	}
	for _, j := range conjuncts {
		w, err := j.Eval(in)
		if v = v.And(w); v == condition.False {
			return condition.False, nil
		}
		if failure == nil {
			failure = err
		}
	}
	if v != condition.Error {
		failure = nil
	}
	return v, failure
}

// candidates appends the rules that a statement can match, in order of name.
func (c *class) candidates(found []int32, f *policylang.Facts) []int32 {
	var buffer [64]condition.Key
	keys := condition.FactKeys(buffer[:0], f)
	found = c.program.index.candidates(found, keys)
	found = c.index.candidates(found, keys)
	if condition.Opaque(f) {
		found = append(found, c.program.strict...)
	}
	found = slices.DeleteFunc(found, func(n int32) bool { return c.values[n] == condition.False })
	slices.Sort(found)
	return slices.Compact(found)
}

// settle decides the pending rules at a moment.
func settle(waiting []pending, in *condition.Input) []match {
	var matches []match
	for _, p := range waiting {
		if v, err := conjunction(p.value, p.err, p.moment, in); v != condition.False {
			matches = append(matches, match{p.rule, v, err})
		}
	}
	return matches
}

// decide makes the decision of the matches.
func (c *class) decide(matches []match) *policylang.Decision {
	slices.SortFunc(matches, func(a, b match) int { return cmp.Compare(a.Name, b.Name) })
	t := tally{fallback: c.program.fallback, errors: slices.Clone(c.maskErrors)}
	for _, m := range matches {
		t.add(m)
	}
	return t.decision()
}

// masked appends the numbers of the masks that apply.
func (c *class) masked(into []int32, in *condition.Input) []int32 {
	for i := range c.masks {
		m := &c.masks[i]
		v, _ := conjunction(m.value, nil, m.moment, in)
		if m.applies(v) {
			into = append(into, m.number)
		}
	}
	return into
}

// timed reports whether a mask may come and go with time.
func (c *class) timed() bool {
	return slices.ContainsFunc(c.masks, func(m liveMask) bool {
		return !m.never && m.value != condition.False && len(m.moment) > 0
	})
}

// inputPool keeps inputs, so that repeated decisions allocate nothing.
type inputPool struct{ pool sync.Pool }

// get returns the input of a side, to be given back.
func (p *inputPool) get(s *side, f *policylang.Facts, now time.Time) *condition.Input {
	in, ok := p.pool.Get().(*condition.Input)
	if !ok {
		in = new(condition.Input)
	}
	*in = condition.Input{Subject: s.subject, Delegated: s.delegated, Session: s.session, Facts: f, Now: now}
	return in
}

func (p *inputPool) put(in *condition.Input) {
	*in = condition.Input{}
	p.pool.Put(in)
}
