package condition

import "slices"

// Implies reports whether the condition provably implies another: whenever it
// is true, so is the other. False means that no proof was found.
func (c *Condition) Implies(other *Condition) bool {
	for _, w := range other.conjuncts {
		if !slices.ContainsFunc(c.conjuncts, func(n *Conjunct) bool { return implies(n.node, w.node) }) {
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
			if contradict(a.node, b.node) || contradict(b.node, a.node) {
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

// Marks and [Conjunct.Anchors] find candidates for [Condition.Implies]: a
// conjunct that implies another has a mark that is an anchor of the other. A
// conjunct without anchors may be implied by any.
func (c *Conjunct) Marks() []string {
	switch n := c.node.(type) {
	case textNode:
		if len(n.values) > 0 {
			return []string{c.id, n.source.name, n.source.name + "=" + n.values[0]}
		}
	case listNode:
		return []string{c.id, n.source.name + "=" + n.values[0]}
	case notNode:
		if of, ok := n.of.(textNode); ok {
			return []string{c.id, of.source.name}
		}
	}
	return []string{c.id}
}

// Anchors is the counterpart of [Conjunct.Marks].
func (c *Conjunct) Anchors() []string {
	if isTrue(c.node) {
		return nil
	}
	var anchors []string
	switch n := c.node.(type) {
	case textNode:
		for _, v := range n.values {
			anchors = append(anchors, n.source.name+"="+v)
		}
	case listNode:
		for _, v := range n.values {
			anchors = append(anchors, n.source.name+"="+v)
		}
	case notNode:
		if of, ok := n.of.(textNode); ok {
			anchors = append(anchors, of.source.name)
		}
	}
	return append(anchors, c.id)
}

func isTrue(n node) bool { return n == node(constNode(True)) }

// implies reports whether b is true whenever a is.
func implies(a, b node) bool {
	if isTrue(b) || a.id() == b.id() {
		return true
	}
	switch a := a.(type) {
	case textNode:
		switch b := b.(type) {
		case textNode:
			return a.source == b.source && subset(a.values, b.values)
		case notNode:
			of, ok := b.of.(textNode)
			return ok && of.source == a.source && disjoint(a.values, of.values)
		}
	case listNode:
		b, ok := b.(listNode)
		return ok && a.source == b.source && subset(a.values, b.values)
	case notNode:
		x, ok := a.of.(textNode)
		if n, isNot := b.(notNode); ok && isNot {
			y, ok := n.of.(textNode)
			return ok && x.source == y.source && subset(y.values, x.values)
		}
	}
	return false
}

// contradict reports whether a and b are never both true.
func contradict(a, b node) bool {
	if n, ok := b.(notNode); ok && implies(a, n.of) {
		return true
	}
	x, ok := a.(textNode)
	y, ok2 := b.(textNode)
	return ok && ok2 && x.source == y.source && disjoint(x.values, y.values)
}

func subset(a, b []string) bool {
	return !slices.ContainsFunc(a, func(v string) bool { return !slices.Contains(b, v) })
}

func disjoint(a, b []string) bool {
	return !slices.ContainsFunc(a, func(v string) bool { return slices.Contains(b, v) })
}
