package compile

import (
	"slices"
	"sync"
	"sync/atomic"

	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/policylang/condition"
)

// builder holds what Compile works on.
type builder struct {
	policy   policylang.Policy // sorted
	workers  int               // that compile expressions
	yield    func()            // is called between small pieces of work
	places   []place
	exprs    map[expression]*compiled
	problems []policylang.Problem
}

// expression is an expression of the policy.
type expression struct {
	kind condition.Kind
	text string
}

// place is where an expression stands.
type place struct {
	expression
	path policylang.Path
}

// compileConditions compiles every expression of the policy, each text once,
// and collects the problems at each place.
func (b *builder) compileConditions() {
	b.places = places(&b.policy)
	b.exprs = make(map[expression]*compiled, len(b.places))
	all := make([]compiled, 0, len(b.places))
	for _, p := range b.places {
		if _, seen := b.exprs[p.expression]; !seen {
			all = append(all, compiled{expression: p.expression})
			b.exprs[p.expression] = &all[len(all)-1]
		}
	}
	b.compileAll(all)
	for _, p := range b.places {
		b.yield()
		for _, problem := range b.exprs[p.expression].problems {
			problem.Path.Kind, problem.Path.Name, problem.Path.Attr = p.path.Kind, p.path.Name, p.path.Attr
			b.problems = append(b.problems, problem)
		}
	}
}

// compileAll compiles on several processors: type-checking is most of the work.
func (b *builder) compileAll(all []compiled) {
	var next atomic.Int64
	var workers sync.WaitGroup
	var compiler condition.Compiler
	work := func() {
		for i := next.Add(1) - 1; i < int64(len(all)); i = next.Add(1) - 1 {
			all[i].compile(&compiler)
			b.yield()
		}
	}
	for range min(b.workers, len(all)) - 1 {
		workers.Go(work)
	}
	work()
	workers.Wait()
}

// compiled is an expression and what it was compiled to, shared by all objects
// that have its text.
type compiled struct {
	expression
	condition *condition.Condition
	value     *condition.Expression
	problems  []policylang.Problem
}

func (c *compiled) compile(compiler *condition.Compiler) {
	switch c.kind {
	case condition.KindRule, condition.KindMask, condition.KindIdentity:
		c.condition, c.problems = compiler.Compile(c.kind, c.text)
	case condition.KindNameFrom, condition.KindGroupsFrom:
		c.value, c.problems = compiler.CompileExpression(c.kind, c.text)
	}
}

// places lists every expression that is not empty: whether one may be is
// Validate's to say.
func places(p *policylang.Policy) []place {
	out := make([]place, 0, 3*len(p.Identities)+len(p.MaskingPolicies)+len(p.QueryRules))
	add := func(kind condition.Kind, text string, path policylang.Path) {
		if text != "" {
			out = append(out, place{expression{kind, text}, path})
		}
	}
	for i := range p.Identities {
		o := &p.Identities[i]
		path := policylang.Path{Kind: policylang.KindIdentity, Name: o.Name}
		add(condition.KindIdentity, o.When, at(path, "when"))
		add(condition.KindNameFrom, o.NameFrom, at(path, "name_from"))
		add(condition.KindGroupsFrom, o.GroupsFrom, at(path, "groups_from"))
	}
	for i := range p.MaskingPolicies {
		o := &p.MaskingPolicies[i]
		add(condition.KindMask, o.Unless, at(policylang.Path{Kind: policylang.KindMaskingPolicy, Name: o.Name}, "unless"))
	}
	for i := range p.QueryRules {
		o := &p.QueryRules[i]
		add(condition.KindRule, o.When, at(policylang.Path{Kind: policylang.KindQueryRule, Name: o.Name}, "when"))
	}
	return out
}

func at(p policylang.Path, attr string) policylang.Path {
	p.Attr = attr
	return p
}

func (b *builder) condition(kind condition.Kind, text string) *condition.Condition {
	return b.exprs[expression{kind, text}].condition
}

func sortedSet(values []string) []string {
	if len(values) == 0 {
		return nil
	}
	slices.Sort(values)
	return slices.Compact(values)
}
