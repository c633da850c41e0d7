package compile

import "github.com/posternhq/postern/policylang/condition"

// ruleIndex finds rules by the keys that they need of a statement.
type ruleIndex struct {
	byKey  map[condition.Key][]int32
	always []int32 // rules without keys
}

func newRuleIndex() ruleIndex { return ruleIndex{byKey: make(map[condition.Key][]int32)} }

func (x *ruleIndex) add(n int32, keys []condition.Key) {
	if keys == nil {
		x.always = append(x.always, n)
	}
	for _, k := range keys {
		x.byKey[k] = append(x.byKey[k], n)
	}
}

// candidates appends the rules that need one of the keys, or none.
func (x *ruleIndex) candidates(found []int32, keys []condition.Key) []int32 {
	found = append(found, x.always...)
	for _, k := range keys {
		found = append(found, x.byKey[k]...)
	}
	return found
}

// maxCommon is how many rules of the whole policy may need a key for the key to
// be looked up among all rules. Where it is more, each class of sessions has an
// index of its own, of the rules that its sessions leave possible.
const maxCommon = 16

// indexRules makes the index that all classes share, and lists the rules that do not
// grant, which an opaque statement meets one and all.
func (p *Program) indexRules(frequency map[condition.Key]int, yield func()) {
	p.index = newRuleIndex()
	for i := range p.rules {
		yield()
		r := &p.rules[i]
		if !r.grants() {
			p.strict = append(p.strict, int32(i))
		}
		if r.common = isCommon(r.keys, frequency); r.common {
			p.index.add(int32(i), r.keys)
		}
	}
}

func isCommon(keys []condition.Key, frequency map[condition.Key]int) bool {
	for _, k := range keys {
		if k.Value != "" && frequency[k] > maxCommon {
			return false
		}
	}
	return keys != nil
}
