package condition

import "slices"

// Implies reports whether the condition provably implies another: whenever it
// is true, so is the other. False means that no proof was found.
func (c *Condition) Implies(other *Condition) bool {
	for _, w := range other.conjuncts {
		if !slices.ContainsFunc(c.conjuncts, func(n *Conjunct) bool { return implies(n, w) }) {
			return false
		}
	}
	return true
}

// Never reports whether the condition provably is never true, since its
// conjuncts contradict each other.
func (c *Condition) Never() bool {
	for i, a := range c.conjuncts {
		if a.node == node(constNode(False)) {
			return true
		}
		for _, b := range c.conjuncts[i+1:] {
			if contradict(a, b) || contradict(b, a) {
				return true
			}
		}
	}
	return false
}

// Always reports whether the condition is the constant true.
func (c *Condition) Always() bool {
	return !slices.ContainsFunc(c.conjuncts, func(j *Conjunct) bool { return !isTrue(j.node) })
}

// AppendMarks and [Conjunct.Anchors] find candidates for [Condition.Implies]: a
// conjunct that implies another has a mark that is an anchor of the other. A
// conjunct without anchors may be implied by any.
func (c *Conjunct) AppendMarks(into []Key) []Key {
	switch n := c.node.(type) {
	case textNode:
		if len(n.values) > 0 {
			into = append(into, Key{Source: n.source.name}, Key{n.source.name, n.values[0]})
		}
	case listNode:
		into = append(into, Key{n.source.name, n.values[0]})
	case notNode:
		if of, ok := n.of.(textNode); ok {
			into = append(into, Key{Source: of.source.name})
		}
	}
	return append(into, Key{Value: c.id})
}

// Anchors is the counterpart of [Conjunct.AppendMarks].
func (c *Conjunct) Anchors() []Key {
	if isTrue(c.node) {
		return nil
	}
	anchors := make([]Key, 0, 2)
	switch n := c.node.(type) {
	case textNode:
		for _, v := range n.values {
			anchors = append(anchors, Key{n.source.name, v})
		}
	case listNode:
		for _, v := range n.values {
			anchors = append(anchors, Key{n.source.name, v})
		}
	case notNode:
		if of, ok := n.of.(textNode); ok {
			anchors = append(anchors, Key{Source: of.source.name})
		}
	}
	return append(anchors, Key{Value: c.id})
}

func isTrue(n node) bool { return n == node(constNode(True)) }

// implies reports whether b is true whenever a is.
func implies(a, b *Conjunct) bool {
	if a.id == b.id || isTrue(b.node) {
		return true
	}
	switch x := a.node.(type) {
	case textNode:
		switch y := b.node.(type) {
		case textNode:
			return x.source == y.source && subset(x.values, y.values)
		case notNode:
			of, ok := y.of.(textNode)
			return ok && of.source == x.source && disjoint(x.values, of.values)
		}
	case listNode:
		y, ok := b.node.(listNode)
		return ok && x.source == y.source && subset(x.values, y.values)
	case notNode:
		of, ok := x.of.(textNode)
		if y, isNot := b.node.(notNode); ok && isNot {
			other, ok := y.of.(textNode)
			return ok && of.source == other.source && subset(other.values, of.values)
		}
	}
	return false
}

// contradict reports whether b is false whenever a is true.
func contradict(a, b *Conjunct) bool {
	switch y := b.node.(type) {
	case textNode:
		x, ok := a.node.(textNode)
		return ok && x.source == y.source && disjoint(x.values, y.values)
	case notNode:
		if len(b.id) == len(a.id)+1 && b.id[1:] == a.id {
			return true
		}
		of, ok := y.of.(textNode)
		x, ok2 := a.node.(textNode)
		return ok && ok2 && x.source == of.source && subset(x.values, of.values)
	}
	return false
}

func subset(a, b []string) bool {
	return !slices.ContainsFunc(a, func(v string) bool { return !slices.Contains(b, v) })
}

func disjoint(a, b []string) bool {
	return !slices.ContainsFunc(a, func(v string) bool { return slices.Contains(b, v) })
}
