package compile

import (
	"fmt"
	"slices"

	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/policylang/condition"
)

// maxComparisons bounds the search for conditions that imply one another, so
// that checking stays fast on policies of any size. What it does not reach is
// found when a token or statement meets it.
const maxComparisons = 2_000_000

// identityOverlaps refuses pairs of identities of which one provably matches
// every token that the other does: no token could ever be of the other.
func (b *builder) identityOverlaps() []policylang.Problem {
	var all []implied
	for i := range b.policy.Identities {
		o := &b.policy.Identities[i]
		all = append(all, implied{o.Name, b.condition(condition.KindIdentity, o.When)})
	}
	var problems []policylang.Problem
	reported := make(map[[2]string]bool)
	implications(all, all, func(narrow, wide int) {
		x, y := all[narrow].name, all[wide].name
		if x == y || reported[[2]string{y, x}] {
			return
		}
		reported[[2]string{x, y}] = true
		problems = append(problems, policylang.Problem{
			Path:    policylang.Path{Kind: policylang.KindIdentity, Name: x, Attr: "when", Length: len(b.policy.Identities[narrow].When)},
			Summary: fmt.Sprintf("every token that identity %q matches is matched by identity %q too", x, y),
			Advice:  "A token that two identities match is refused. Make the conditions exclude each other, as in token.sub != 'u-17'.",
		})
	})
	return problems
}

// implied is a condition with the name of its object.
type implied struct {
	name      string
	condition *condition.Condition
}

// implications calls yield for each pair in which the first condition provably
// implies the second, in the order of narrow, until the bound is reached.
func implications(narrow, wide []implied, yield func(narrow, wide int)) {
	frequency := make(map[string]int)
	for _, n := range narrow {
		for _, m := range n.marks() {
			frequency[m]++
		}
	}
	index := make(map[string][]int)
	var everywhere []int
	for i, w := range wide {
		anchors := w.anchors(frequency)
		if anchors == nil {
			everywhere = append(everywhere, i)
		}
		for _, a := range anchors {
			index[a] = append(index[a], i)
		}
	}
	left := maxComparisons
	for i, n := range narrow {
		if n.condition.Never() {
			continue
		}
		candidates := slices.Clone(everywhere)
		for _, m := range n.marks() {
			candidates = append(candidates, index[m]...)
		}
		slices.Sort(candidates)
		for _, j := range slices.Compact(candidates) {
			if left--; left < 0 {
				return
			}
			if n.condition.Implies(wide[j].condition) {
				yield(i, j)
			}
		}
	}
}

func (n implied) marks() []string {
	var marks []string
	for _, j := range n.condition.Conjuncts() {
		marks = append(marks, j.Marks()...)
	}
	return sortedSet(marks)
}

// anchors are those of the conjunct that the fewest conditions can imply; nil
// if every condition may imply the whole.
func (n implied) anchors(frequency map[string]int) []string {
	var best []string
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
