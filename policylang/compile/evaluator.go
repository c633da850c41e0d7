package compile

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/policylang/condition"
)

// Evaluator decides the statements of one session. What subject and session
// fix is evaluated when it is made: make another when either changes. It is
// safe for concurrent use.
type Evaluator struct {
	program *Program
	sides   []side // the subject, then the agents that act for it
	masks   *policylang.MaskSet
	timed   bool // masks come and go with time
	last    atomic.Pointer[chosenMasks]
}

// side is one of the subjects that a statement is decided as.
type side struct {
	subject   *policylang.Subject
	delegated bool
	session   *policylang.Session
	class     *class
	cache     *decisionCache
}

// chosenMasks are the masks that applied at some moment.
type chosenMasks struct {
	numbers []int32
	set     *policylang.MaskSet
}

// maxActors bounds a chain of agents; longer ones are denied.
const maxActors = 4

// Evaluator prepares decisions for a session. Without a subject or session it
// denies everything.
func (p *Program) Evaluator(subject *policylang.Subject, session *policylang.Session) *Evaluator {
	e := &Evaluator{program: p}
	if subject == nil || session == nil {
		e.masks = p.maskSet(nil, true)
		return e
	}
	for s := subject; s != nil && len(e.sides) <= maxActors; s = s.Actor {
		e.sides = append(e.sides, p.side(s, s != subject, session))
	}
	for _, s := range e.sides {
		e.timed = e.timed || s.class.timed()
	}
	if !e.timed {
		e.masks = p.maskSet(e.masked(time.Time{}), false)
	}
	return e
}

func (p *Program) side(subject *policylang.Subject, delegated bool, session *policylang.Session) side {
	s := side{subject: subject, delegated: delegated, session: session}
	in := p.inputs.get(&s, nil, time.Time{})
	defer p.inputs.put(in)
	s.class = p.class(p.session.evaluate(in))
	s.cache = s.class.shared
	if s.class.mixed {
		s.cache = newDecisionCache(&p.caches)
	}
	return s
}

// Textual reports whether a decision may depend on the text of a statement
// beyond its facts.
func (e *Evaluator) Textual() bool {
	return slices.ContainsFunc(e.sides, func(s side) bool { return s.class.textual })
}

// Decide decides about one execution of a statement. The decision must not be
// changed. It is the same for the same facts, as long as no condition that
// mentions now says otherwise. Facts must not change once they were passed.
func (e *Evaluator) Decide(f *policylang.Facts, now time.Time) *policylang.Decision {
	switch {
	case f == nil || len(e.sides) == 0 || len(e.sides) > maxActors:
		return &policylang.Decision{Effect: policylang.EffectDeny, ByDefault: true}
	case f.Transaction:
		return e.program.admitted()
	case len(e.sides) == 1:
		return e.sides[0].decide(f, now)
	}
	d := e.sides[0].decide(f, now)
	for _, s := range e.sides[1:] {
		d = s.cache.combined(s.alike(f), d, s.decide(f, now))
	}
	return d
}

// admitted is the decision about statements that only control the transaction
// or read session state, which no rule is asked about.
func (p *Program) admitted() *policylang.Decision { return &p.always }

func (s *side) decide(f *policylang.Facts, now time.Time) *policylang.Decision {
	f = s.alike(f)
	kept := s.cache.get(f)
	if kept == nil {
		in := s.class.program.inputs.get(s, f, now)
		matches, waiting := s.class.judge(in)
		s.class.program.inputs.put(in)
		kept = &verdict{matches: matches, waiting: waiting}
		if len(waiting) == 0 {
			kept.decision = s.class.decide(matches)
			kept.matches = nil
		}
		kept = s.cache.put(f, kept)
	}
	if kept.decision != nil {
		return kept.decision
	}
	return s.settle(kept, f, now)
}

// alike returns the facts that are decided for f: those of another text of the
// same form, unless a rule looks at the text.
func (s *side) alike(f *policylang.Facts) *policylang.Facts {
	if f.Origin != nil && !s.class.textual {
		return f.Origin
	}
	return f
}

// settle decides what waits for the moment.
func (s *side) settle(v *verdict, f *policylang.Facts, now time.Time) *policylang.Decision {
	in := s.class.program.inputs.get(s, f, now)
	defer s.class.program.inputs.put(in)
	var buffer [16]condition.Value
	values := buffer[:0]
	erring := false
	for i := range v.waiting {
		p := &v.waiting[i]
		w, err := conjunction(p.value, p.err, p.moment, in)
		values = append(values, w)
		erring = erring || err != nil
	}
	if d := v.variant(values); d != nil && !erring {
		return d
	}
	d := s.class.decide(append(slices.Clone(v.matches), settle(v.waiting, in)...))
	if !erring {
		v.keep(values, d)
	}
	return d
}

// Masks returns the masks that apply to the session, immutable. It is the same
// set as long as the same masks apply.
func (e *Evaluator) Masks(now time.Time) *policylang.MaskSet {
	if !e.timed {
		return e.masks
	}
	var buffer [64]int32
	numbers := e.appendMasked(buffer[:0], now)
	if last := e.last.Load(); last != nil && slices.Equal(last.numbers, numbers) {
		return last.set
	}
	chosen := &chosenMasks{numbers: slices.Clone(numbers), set: e.program.maskSet(numbers, false)}
	e.last.Store(chosen)
	return chosen.set
}

func (e *Evaluator) masked(now time.Time) []int32 { return e.appendMasked(nil, now) }

// appendMasked appends the numbers of the masks that apply to any side.
func (e *Evaluator) appendMasked(into []int32, now time.Time) []int32 {
	for i := range e.sides {
		in := e.program.inputs.get(&e.sides[i], nil, now)
		into = e.sides[i].class.masked(into, in)
		e.program.inputs.put(in)
	}
	if len(e.sides) > 1 {
		slices.Sort(into)
		into = slices.Compact(into)
	}
	return into
}

// maskSetCache keeps the sets of masks that were asked for.
type maskSetCache struct {
	mu   sync.Mutex
	sets map[string]*policylang.MaskSet
}

// maskSet returns the set of the numbered masks, or of all.
func (p *Program) maskSet(numbers []int32, all bool) *policylang.MaskSet {
	if all {
		for i := range p.masks {
			numbers = append(numbers, int32(i))
		}
	}
	key := make([]byte, 0, 4*len(numbers))
	for _, n := range numbers {
		key = append(key, byte(n), byte(n>>8), byte(n>>16), byte(n>>24))
	}
	p.maskSets.mu.Lock()
	defer p.maskSets.mu.Unlock()
	if s, ok := p.maskSets.sets[string(key)]; ok {
		return s
	}
	if p.maskSets.sets == nil || len(p.maskSets.sets) >= maxClasses {
		p.maskSets.sets = make(map[string]*policylang.MaskSet)
	}
	s := policylang.NewMaskSet(p.masksOf(numbers))
	p.maskSets.sets[string(key)] = s
	return s
}

func (p *Program) masksOf(numbers []int32) []policylang.Mask {
	masks := make([]policylang.Mask, 0, len(numbers))
	for _, n := range numbers {
		m := p.masks[n].MaskingPolicy
		masks = append(masks, policylang.Mask{
			Policy: m.Name, Columns: m.Columns, Detect: m.Detect, Transform: transform(m),
			Predicates: m.Predicates, Order: m.Order, Group: m.Group, Count: m.Count,
			Observe: m.Mode == policylang.ModeObserve,
		})
	}
	return masks
}

// transform is the policy's transform with the parameters that belong to it.
func transform(m *policylang.MaskingPolicy) policylang.Transform {
	t := policylang.Transform{Kind: m.Transform}
	switch m.Transform {
	case policylang.TransformPartial:
		t.KeepFirst, t.KeepLast, t.Format = m.KeepFirst, m.KeepLast, m.Format
	case policylang.TransformToken:
		t.Format = m.Format
	case policylang.TransformTruncate:
		t.Unit = m.Unit
	case policylang.TransformRound:
		t.Digits = m.Digits
	case policylang.TransformNull, policylang.TransformRedact, policylang.TransformHash:
	}
	return t
}
