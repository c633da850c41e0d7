package provider_test

import (
	"testing"

	"github.com/hashicorp/terraform-plugin-testing/helper/resource"
	"github.com/hashicorp/terraform-plugin-testing/plancheck"
	"github.com/hashicorp/terraform-plugin-testing/tfjsonpath"
)

// What is sensitive stays so within the bundle's maps: a provider that rewrote
// them would lose the mark.
func TestAccSensitiveInput(t *testing.T) {
	l := newLab(t)
	message := tfjsonpath.New("query_rules").AtMapKey("no_ddl").AtMapKey("message")
	l.accept(t, resource.TestStep{
		Config: `
variable "message" {
  default   = "call 555-0100"
  sensitive = true
}

resource "postern_bundle" "it" {
  gateways    = { orders = { upstream = { host = "db.internal" } } }
  query_rules = {
    no_ddl = { effect = "deny", when = "statement.ddl", message = var.message }
    reads  = { effect = "allow", when = "statement.read_only" }
  }
}
`,
		ConfigPlanChecks: resource.ConfigPlanChecks{PreApply: []plancheck.PlanCheck{
			plancheck.ExpectSensitiveValue("postern_bundle.it", message),
		}},
	})
}
