# Two teams, one module: each team rules over a schema of its own, and neither
# can reach the other's.

terraform {
  required_version = ">= 1.8"
  required_providers {
    postern = {
      source = "posternhq/postern"
    }
  }
}

provider "postern" {}

module "orders" {
  source = "./modules/team"

  name       = "orders"
  issuer_url = var.issuer_url
  members    = { ana = "u-17", bo = "u-18" }
  leads      = ["bo"]
}

module "billing" {
  source = "./modules/team"

  name       = "billing"
  issuer_url = var.issuer_url
  members    = { chloe = "u-21", dora = "u-22" }
  leads      = ["dora"]
}

resource "postern_gateway" "this" {
  name     = var.gateway
  upstream = var.upstream
  issuer   = { corp = { url = var.issuer_url, audience = "postern" } }
}

# Each team's names begin with its own: merging them never hides anything.
resource "postern_bundle" "this" {
  gateways        = { (var.gateway) = postern_gateway.this }
  identities      = merge(module.orders.identities, module.billing.identities)
  query_rules     = merge(module.orders.query_rules, module.billing.query_rules)
  approval_groups = merge(module.orders.approval_groups, module.billing.approval_groups)

  # What the module promises, as tests that every plan runs.
  tests = {
    "a member writes to the team's schema" = {
      identity = "orders.ana"
      sql      = "insert into orders.items (name) values ('tea pot')"
      expect   = { effect = "allow", rules = ["orders.work"] }
    }
    "a member cannot read another team's schema" = {
      identity = "orders.ana"
      sql      = "select * from billing.invoices"
      expect   = { effect = "deny" }
    }
    "a join with another team's schema is denied" = {
      identity = "billing.chloe"
      sql      = "select * from billing.invoices join orders.items using (id)"
      expect   = { effect = "deny" }
    }
    "emptying a table needs a lead" = {
      identity = "billing.chloe"
      sql      = "delete from billing.invoices"
      expect   = { effect = "hold", approval_groups = ["billing.leads"] }
    }
  }
}

resource "postern_release" "this" {
  gateway = postern_gateway.this.name
  bundle  = postern_bundle.this.digest
  note    = "Teams orders and billing."
}
