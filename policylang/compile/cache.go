package compile

import (
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/policylang/condition"
)

// The bounds of a decision cache. It has two generations: when the young one is
// full it becomes the old one, and what is still used moves over.
const (
	allDecisions = 128 << 10 // of all caches' young generations together
	maxDecisions = 4096      // of one generation
	minDecisions = 64        // of one generation, however many caches there are
	maxTextBytes = 4 << 20   // of the statements that a generation keeps alive
	maxTextKept  = 64 << 10  // longer statements are decided anew each time
	maxVariants  = 64        // decisions of one statement at different moments
)

// verdict is what is known of a statement: its decision, or what waits for the
// moment.
type verdict struct {
	decision *policylang.Decision // nil if something waits
	matches  []match
	waiting  []pending
	variants atomic.Pointer[[]variant] // replaced, never changed
	together atomic.Pointer[pair]
}

// variant is the decision for one set of values of what waits.
type variant struct {
	values   []condition.Value
	decision *policylang.Decision
}

// pair is the last combination of two sides' decisions.
type pair struct{ a, b, combined *policylang.Decision }

// variant returns the decision for the values, nil if it was not kept.
func (v *verdict) variant(values []condition.Value) *policylang.Decision {
	kept := v.variants.Load()
	if kept == nil {
		return nil
	}
	for i := range *kept {
		if slices.Equal((*kept)[i].values, values) {
			return (*kept)[i].decision
		}
	}
	return nil
}

// keep keeps the decision for the values.
func (v *verdict) keep(values []condition.Value, d *policylang.Decision) {
	var next []variant
	if kept := v.variants.Load(); kept != nil && len(*kept) < maxVariants {
		next = slices.Clone(*kept)
	}
	next = append(next, variant{slices.Clone(values), d})
	v.variants.Store(&next)
}

// cacheBudget shares the bound of all decisions among the caches of a program.
type cacheBudget struct{ caches atomic.Int64 }

// each is how many decisions one generation of one cache may hold.
func (b *cacheBudget) each() int64 {
	return max(minDecisions, min(maxDecisions, allDecisions/max(1, b.caches.Load())))
}

// decisionCache maps facts, by pointer, to verdicts.
type decisionCache struct {
	young atomic.Pointer[generation]
	old   atomic.Pointer[generation]
	turn  sync.Mutex // held to replace generations

	budget *cacheBudget
}

type generation struct {
	verdicts sync.Map // *policylang.Facts to *verdict
	count    atomic.Int64
	bytes    atomic.Int64
}

func newDecisionCache(budget *cacheBudget) *decisionCache {
	budget.caches.Add(1)
	c := &decisionCache{budget: budget}
	runtime.AddCleanup(c, func(b *cacheBudget) { b.caches.Add(-1) }, budget)
	c.young.Store(new(generation))
	c.old.Store(new(generation))
	return c
}

// get returns the verdict of the facts, nil if there is none.
func (c *decisionCache) get(f *policylang.Facts) *verdict {
	if v := c.young.Load().get(f); v != nil {
		return v
	}
	if v := c.old.Load().get(f); v != nil {
		return c.put(f, v)
	}
	return nil
}

func (g *generation) get(f *policylang.Facts) *verdict {
	kept, _ := g.verdicts.Load(f)
	v, _ := kept.(*verdict)
	return v
}

// put keeps a verdict and returns the one kept: another may have been faster.
func (c *decisionCache) put(f *policylang.Facts, v *verdict) *verdict {
	if len(f.Text) > maxTextKept {
		return v
	}
	g := c.young.Load()
	kept, loaded := g.verdicts.LoadOrStore(f, v)
	if first, ok := kept.(*verdict); ok && loaded {
		return first
	}
	if g.count.Add(1) >= c.budget.each() || g.bytes.Add(int64(len(f.Text))) >= maxTextBytes {
		c.rotate(g)
	}
	return v
}

// rotate makes the full generation the old one.
func (c *decisionCache) rotate(full *generation) {
	c.turn.Lock()
	defer c.turn.Unlock()
	if c.young.Load() == full {
		c.old.Store(full)
		c.young.Store(new(generation))
	}
}

// combined returns the combination of two sides' decisions, made once as long
// as they stay the same.
func (c *decisionCache) combined(f *policylang.Facts, a, b *policylang.Decision) *policylang.Decision {
	v := c.get(f)
	if v == nil {
		return combine(a, b)
	}
	if p := v.together.Load(); p != nil && p.a == a && p.b == b {
		return p.combined
	}
	d := combine(a, b)
	v.together.Store(&pair{a, b, d})
	return d
}
