package compile

import (
	"fmt"

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
	implications(all, all, func(narrow, wide int) bool {
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
// bound is reached. When yield returns true the rest of the first's pairs are
// left out.
func implications(narrow, wide []implied, yield func(narrow, wide int) bool) {
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
	for _, n := range narrow {
		if n.condition.Never() {
			continue
		}
		for _, list := range n.candidates(index, everywhere) {
			done := false
			for _, j := range list {
				if left--; left < 0 {
					return
				}
				if done = n.condition.Implies(wide[j].condition) && yield(n.object, wide[j].object); done {
					break
				}
			}
			if done {
				break
			}
		}
	}
}

// candidates lists what the condition may imply, some perhaps twice.
func (n implied) candidates(index map[string][]int, everywhere []int) [][]int {
	lists := [][]int{everywhere}
	for _, m := range n.marks() {
		lists = append(lists, index[m])
	}
	return lists
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
