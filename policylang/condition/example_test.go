package condition_test

import (
	"fmt"

	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/policylang/condition"
)

// A condition is the conjunction of parts, each of which knows what it looks
// at. What the facts do not say is unknown, neither true nor false.
func Example() {
	c, problems := condition.Compile(condition.KindRule, `identity.in_group("dba") && statement.reads("app.*")`)
	if policylang.HasErrors(problems) {
		panic(problems)
	}
	for _, j := range c.Conjuncts() {
		fmt.Println(j.Offset, j.Length, j.Deps().Has(condition.DependsStatement))
	}

	in := &condition.Input{
		Subject: &policylang.Subject{Groups: []string{"dba"}},
		Facts:   &policylang.Facts{Class: policylang.ClassRead, Relations: []policylang.Relation{{Name: "orders", Verb: policylang.VerbRead}}},
	}
	fmt.Println(c.Eval(in)) // no catalog has resolved orders yet
	in.Facts.Relations[0].Schema = "app"
	fmt.Println(c.Eval(in))

	for _, p := range condition.Check(condition.KindRule, `statement.limit == "10"`) {
		fmt.Println(p.Summary)
	}
	// Output:
	// 0 24 false
	// 28 24 true
	// unknown <nil>
	// true <nil>
	// == cannot be used between an integer and a string
}
