package scenario

import (
	"slices"

	"github.com/posternhq/postern/policylang"
)

// Coverage says which tests an object took part in.
type Coverage struct {
	Kind  policylang.Kind `json:"kind"` // query_rule or masking_policy
	Name  string          `json:"name"`
	Tests []string        `json:"tests"` // sorted; none if no test shows what the object does
}

// Path is the path of the object.
func (c Coverage) Path() policylang.Path { return policylang.Path{Kind: c.Kind, Name: c.Name} }

// coverage gathers which rules matched and which masks had an effect.
type coverage struct {
	objects []Coverage
	index   map[policylang.Path]int
}

func newCoverage(p *policylang.Policy) *coverage {
	c := &coverage{index: map[policylang.Path]int{}}
	for _, o := range p.Objects() {
		if k := o.ObjectKind(); k == policylang.KindQueryRule || k == policylang.KindMaskingPolicy {
			object := Coverage{Kind: k, Name: o.ObjectName(), Tests: []string{}}
			c.index[object.Path()] = len(c.objects)
			c.objects = append(c.objects, object)
		}
	}
	return c
}

// add notes what a test's outcome shows: every rule that matched, even if
// another decided, and every masking policy that changed a column or, where
// masking refused the statement, that applied.
func (c *coverage) add(t *policylang.Test, o *Outcome) {
	for _, x := range o.Explanations {
		for _, side := range x.Sides {
			for _, rule := range side.Rules {
				if rule.Matched {
					c.note(policylang.KindQueryRule, rule.Rule, t.Name)
				}
			}
		}
		if o.Refused != "" && x.Masks != nil {
			for _, m := range x.Masks.Masks {
				c.note(policylang.KindMaskingPolicy, m.Policy, t.Name)
			}
		}
	}
	for _, column := range o.Columns {
		for _, policy := range column.Policies {
			c.note(policylang.KindMaskingPolicy, policy, t.Name)
		}
	}
}

func (c *coverage) note(kind policylang.Kind, name, test string) {
	i, ok := c.index[policylang.Path{Kind: kind, Name: name}]
	if ok && !slices.Contains(c.objects[i].Tests, test) {
		c.objects[i].Tests = append(c.objects[i].Tests, test)
	}
}

func (c *coverage) list() []Coverage {
	for i := range c.objects {
		slices.Sort(c.objects[i].Tests)
	}
	return c.objects
}
