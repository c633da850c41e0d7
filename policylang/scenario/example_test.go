package scenario_test

import (
	"fmt"

	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/policylang/pgcatalog"
	"github.com/posternhq/postern/policylang/scenario"
	"github.com/posternhq/postern/policylang/source"
)

// The tests of a policy file, run against the schema that they name.
func Example() {
	file, _ := source.Parse("orders.postern.hcl", []byte(`
identity "ana" {
  kind = "human"
  when = "token.sub == 'u-17'"
}
query_rule "reads" {
  when   = "statement.read_only"
  effect = "allow"
}
masking_policy "emails" {
  columns   = ["public.customers.email"]
  transform = "partial"
}
test "addresses are masked, whatever they are called" {
  identity = "ana"
  sql      = "select email as e from customers"
  schema   = "schema.sql"
  expect {
    effect   = "allow"
    unmasked = ["e"]
  }
}
`))
	base, err := scenario.Baseline()
	if err != nil {
		panic(err)
	}
	report, _ := scenario.Run(file.Policy, file.Tests, scenario.Options{
		Schema: func(t *policylang.Test) (*pgcatalog.Catalog, []policylang.Problem) {
			return scenario.ReadSchema(t.Schema, "CREATE TABLE customers (id int, email text)", base)
		},
	})
	for _, r := range report.Results {
		fmt.Println(r.Test, r.Passed)
		for _, d := range r.Differences {
			fmt.Println(d.Attribute, "want", d.Want, "got", d.Got)
		}
	}
	// Output:
	// addresses are masked, whatever they are called false
	// expect.unmasked want ["e"] got []
}
