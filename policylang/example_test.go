package policylang_test

import (
	"fmt"

	"github.com/posternhq/postern/policylang"
)

// A policy is made of objects. What is wrong with it is told all at once, and
// the digest names what it means, whatever its order.
func Example() {
	policy := policylang.Policy{
		ApprovalGroups: []policylang.ApprovalGroup{{Name: "dba", Members: []string{"ben"}}},
		QueryRules: []policylang.QueryRule{
			{Name: "reads", When: "statement.read_only", Effect: policylang.EffectAllow},
			{Name: "writes", When: "statement.writes", Effect: policylang.EffectHold, ApprovalGroup: "dbas"},
		},
	}
	for _, problem := range policy.Validate() {
		fmt.Println(problem.Error())
	}

	policy.QueryRules[1].ApprovalGroup = "dba"
	digest, err := policy.Digest()
	if err != nil {
		panic(err)
	}
	rules := policy.QueryRules
	rules[0], rules[1] = rules[1], rules[0]
	again, err := policy.Digest()
	if err != nil {
		panic(err)
	}
	fmt.Println(len(policy.Validate()), digest == again)
	// Output:
	// query_rule.writes.approval_group: no approval group is named "dbas"; did you mean "dba"?
	// 0 true
}
