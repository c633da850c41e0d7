package compile

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/policylang/condition"
)

// maxComparisons bounds the search for conditions that imply one another, so
// that checking stays fast on policies of any size. What it does not reach is
// found when a token or statement meets it.
const maxComparisons = 500_000

// identityOverlaps refuses pairs of identities of which one provably matches
// every token that the other does: no token could ever be of the other.
func (b *builder) identityOverlaps() []policylang.Problem {
	var all []implied
	for i := range b.policy.Identities {
		o := &b.policy.Identities[i]
		all = append(all, implied{i, b.condition(condition.KindIdentity, o.When)})
	}
	var problems []policylang.Problem
	reported := make(map[[2]int]bool)
	implications(b.yield, all, all, func(narrow, wide int) bool {
		if narrow == wide {
			return false
		}
		if reported[[2]int{wide, narrow}] {
			return true
		}
		reported[[2]int{narrow, wide}] = true
		x, y := b.policy.Identities[narrow].Name, b.policy.Identities[wide].Name
		problems = append(problems, policylang.Problem{
			Path:    policylang.Path{Kind: policylang.KindIdentity, Name: x, Attr: "when", Length: len(b.policy.Identities[narrow].When)},
			Summary: fmt.Sprintf("every token that identity %q matches is matched by identity %q too", x, y),
			Advice:  "A token that two identities match is refused. Make the conditions exclude each other, as in token.sub != 'u-17'.",
		})
		return true
	})
	return problems
}

// implied is a condition with the index of its object.
type implied struct {
	object    int
	condition *condition.Condition
}

// implications calls yield with the objects of each pair in which the first
// condition provably implies the second, in the order of narrow, until the
// bound is reached, and pause between pieces of work. When yield returns true the rest of the first's pairs are
// left out.
func implications(pause func(), narrow, wide []implied, yield func(narrow, wide int) bool) {
	if len(narrow) == 0 || len(wide) == 0 {
		return
	}
	frequency := make(map[condition.Key]int, len(narrow))
	var marks []condition.Key
	for _, n := range narrow {
		pause()
		marks = n.appendMarks(marks[:0])
		for _, m := range marks {
			frequency[m]++
		}
	}
	index := make(map[condition.Key][]int, len(wide))
	var everywhere []int
	for i, w := range wide {
		pause()
		anchors := w.anchors(frequency)
		if anchors == nil {
			everywhere = append(everywhere, i)
		}
		for _, a := range anchors {
			index[a] = append(index[a], i)
		}
	}
	left := maxComparisons
	for _, n := range narrow {
		pause()
		if n.condition.Never() {
			continue
		}
		// try reports whether the rest of n's pairs are left out.
		try := func(list []int) bool {
			for _, j := range list {
				if left--; left < 0 {
					return true
				}
				if n.condition.Implies(wide[j].condition) && yield(n.object, wide[j].object) {
					return true
				}
			}
			return false
		}
		marks = n.appendMarks(marks[:0])
		done := try(everywhere)
		for i := 0; i < len(marks) && !done; i++ {
			done = try(index[marks[i]])
		}
		if left < 0 {
			return
		}
	}
}

// appendMarks appends the marks of the condition, each once, in order.
func (n implied) appendMarks(into []condition.Key) []condition.Key {
	for _, j := range n.condition.Conjuncts() {
		into = j.AppendMarks(into)
	}
	slices.SortFunc(into, func(a, b condition.Key) int {
		return cmp.Or(strings.Compare(a.Source, b.Source), strings.Compare(a.Value, b.Value))
	})
	return slices.Compact(into)
}

// anchors are those of the conjunct that the fewest conditions can imply; nil
// if every condition may imply the whole.
func (n implied) anchors(frequency map[condition.Key]int) []condition.Key {
	var best []condition.Key
	least := 0
	for _, j := range n.condition.Conjuncts() {
		anchors := j.Anchors()
		sum := 0
		for _, a := range anchors {
			sum += frequency[a]
		}
		if anchors != nil && (best == nil || sum < least) {
			best, least = anchors, sum
		}
	}
	return best
}
