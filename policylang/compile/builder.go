package compile

import (
	"runtime"
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
	places := b.places()
	b.exprs = make(map[expression]*compiled, len(places))
	var work []expression
	for _, p := range places {
		if _, seen := b.exprs[p.expression]; !seen {
			b.exprs[p.expression] = new(compiled)
			work = append(work, p.expression)
		}
	}
	b.compileAll(work)
	for _, p := range places {
		for _, problem := range b.exprs[p.expression].problems {
			problem.Path.Kind, problem.Path.Name, problem.Path.Attr = p.path.Kind, p.path.Name, p.path.Attr
			b.problems = append(b.problems, problem)
		}
	}
}

// compileAll compiles on several processors: type-checking is most of the work.
// It gives way after each expression, so that in a gateway the statements that
// run meanwhile wait for one expression and not for the scheduler's time slice.
func (b *builder) compileAll(work []expression) {
	var next atomic.Int64
	var workers sync.WaitGroup
	var compiler condition.Compiler
	for range min(b.workers, len(work)) {
		workers.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= len(work) {
					return
				}
				*b.exprs[work[i]] = compileOne(&compiler, work[i])
				runtime.Gosched()
			}
		})
	}
	workers.Wait()
}

func compileOne(compiler *condition.Compiler, e expression) compiled {
	var c compiled
	switch e.kind {
	case condition.KindRule, condition.KindMask, condition.KindIdentity:
		c.condition, c.problems = compiler.Compile(e.kind, e.text)
	case condition.KindNameFrom, condition.KindGroupsFrom:
		c.value, c.problems = compiler.CompileExpression(e.kind, e.text)
	}
	return c
}

// places lists every expression that is not empty: whether one may be is
// Validate's to say.
func (b *builder) places() []place {
	var out []place
	add := func(kind condition.Kind, text string, path policylang.Path) {
		if text != "" {
			out = append(out, place{expression{kind, text}, path})
		}
	}
	for i := range b.policy.Identities {
		o := &b.policy.Identities[i]
		path := policylang.Path{Kind: policylang.KindIdentity, Name: o.Name}
		add(condition.KindIdentity, o.When, at(path, "when"))
		add(condition.KindNameFrom, o.NameFrom, at(path, "name_from"))
		add(condition.KindGroupsFrom, o.GroupsFrom, at(path, "groups_from"))
	}
	for i := range b.policy.MaskingPolicies {
		o := &b.policy.MaskingPolicies[i]
		add(condition.KindMask, o.Unless, at(policylang.Path{Kind: policylang.KindMaskingPolicy, Name: o.Name}, "unless"))
	}
	for i := range b.policy.QueryRules {
		o := &b.policy.QueryRules[i]
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
