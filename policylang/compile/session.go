package compile

import (
	"slices"
	"sync"

	"github.com/posternhq/postern/policylang/condition"
)

// sessionAtoms are the distinct conjuncts that a session fixes, over all rules
// and masks.
type sessionAtoms struct {
	atoms   []*condition.Conjunct
	byKey   map[condition.Key][]int32
	unkeyed []int32
	blank   []condition.Value // of a session that has no key at all
}

// newSessionAtoms numbers the atoms, and tells the rules and masks the numbers.
func newSessionAtoms(rules []rule, masks []mask, yield func()) sessionAtoms {
	s := sessionAtoms{byKey: make(map[condition.Key][]int32)}
	numbers := make(map[string]int32)
	number := func(c *clauses) {
		yield()
		for _, j := range c.all {
			if j.Deps().Has(condition.DependsStatement | condition.DependsNow) {
				continue
			}
			n, seen := numbers[j.ID()]
			if !seen {
				n = int32(len(s.atoms))
				numbers[j.ID()] = n
				s.add(j)
			}
			c.session = append(c.session, n)
		}
	}
	for i := range rules {
		number(&rules[i].clauses)
	}
	for i := range masks {
		number(&masks[i].clauses)
	}
	return s
}

func (s *sessionAtoms) add(j *condition.Conjunct) {
	n := int32(len(s.atoms))
	s.atoms = append(s.atoms, j)
	keys, without := j.Keys(), condition.False
	if keys == nil {
		keys, without = j.FalseKeys(), condition.True
	}
	s.blank = append(s.blank, without)
	if keys == nil {
		s.unkeyed = append(s.unkeyed, n)
	}
	for _, k := range keys {
		s.byKey[k] = append(s.byKey[k], n)
	}
}

// outcome is the atoms' values for one session.
type outcome struct {
	values []condition.Value
	errs   map[int32]error
}

// evaluate evaluates the atoms, but for those whose keys the session lacks.
func (s *sessionAtoms) evaluate(in *condition.Input) outcome {
	o := outcome{values: slices.Clone(s.blank)}
	try := func(n int32) {
		v, err := s.atoms[n].Eval(in)
		o.values[n] = v
		if err != nil {
			if o.errs == nil {
				o.errs = make(map[int32]error)
			}
			o.errs[n] = err
		}
	}
	if in.Subject == nil || in.Session == nil {
		for n := range s.atoms {
			try(int32(n))
		}
		return o
	}
	for _, n := range s.unkeyed {
		try(n)
	}
	for _, k := range condition.SessionKeys(nil, in) {
		for _, n := range s.byKey[k] {
			try(n)
		}
	}
	return o
}

// key is equal for equal outcomes.
func (o outcome) key() string {
	key := make([]byte, 0, len(o.values)+64)
	for n, v := range o.values {
		key = append(key, byte(v))
		if v == condition.Error {
			key = append(key, o.errs[int32(n)].Error()...)
			key = append(key, 0)
		}
	}
	return string(key)
}

// maxClasses bounds the classes that are kept for sessions to come.
const maxClasses = 1024

// classCache keeps the classes of sessions.
type classCache struct {
	mu      sync.Mutex
	classes map[string]*class
}

// class returns the class of the outcome, made once.
func (p *Program) class(o outcome) *class {
	key := o.key()
	p.classes.mu.Lock()
	defer p.classes.mu.Unlock()
	if c, ok := p.classes.classes[key]; ok {
		return c
	}
	if p.classes.classes == nil || len(p.classes.classes) >= maxClasses {
		p.classes.classes = make(map[string]*class)
	}
	c := newClass(p, o)
	p.classes.classes[key] = c
	return c
}
