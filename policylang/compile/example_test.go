package compile_test

import (
	"fmt"
	"time"

	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/policylang/compile"
)

// A token becomes a subject, a subject's session an evaluator, and each
// execution of a statement a decision that says why.
func Example() {
	program, problems := compile.Compile(policylang.Policy{
		Identities: []policylang.Identity{{
			Name: "ana", Kind: "human", When: `token.sub == "u-17"`, Groups: []string{"engineering"},
		}},
		ApprovalGroups: []policylang.ApprovalGroup{{Name: "dba", Members: []string{"ben"}}},
		QueryRules: []policylang.QueryRule{
			{Name: "reads", When: `identity.in_group("engineering") && statement.read_only`, Effect: policylang.EffectAllow},
			{Name: "whole_tables", When: "statement.writes && !statement.filtered", Effect: policylang.EffectHold, ApprovalGroup: "dba"},
		},
	}, "")
	if program == nil {
		panic(problems)
	}
	now := time.Now()
	subject, err := program.Identify(map[string]any{"sub": "u-17"}, now)
	if err != nil {
		panic(err)
	}
	evaluator := program.Evaluator(subject, &policylang.Session{Database: "orders"})

	for _, facts := range []*policylang.Facts{
		{Command: "SELECT", Class: policylang.ClassRead, ReadOnly: true, Filtered: true},
		{Command: "DELETE", Class: policylang.ClassWrite, Writes: true},
		{Command: "DELETE", Class: policylang.ClassWrite, Writes: true, Filtered: true},
	} {
		d := evaluator.Decide(facts, now)
		fmt.Println(facts.Command, d.Effect, d.Rules, d.ApprovalGroups, d.ByDefault)
	}
	// Output:
	// SELECT allow [reads] [] false
	// DELETE hold [whole_tables] [dba] false
	// DELETE deny [] [] true
}
