resource "postern_gateway" "orders" {
  name     = "orders"
  upstream = { host = "orders-db.internal" }
  issuer   = { corp = { url = "https://login.example.com", audience = "postern" } }
}

resource "postern_identity" "ana" {
  name   = "ana"
  kind   = "human"
  when   = "token.iss == 'https://login.example.com' && token.sub == 'u-17'"
  groups = ["engineering"]
}

locals {
  rules = {
    engineers_read = "'engineering' in identity.groups && statement.read_only"
    people_explain = "identity.kind == 'human' && statement.command == 'EXPLAIN'"
  }
}

resource "postern_query_rule" "this" {
  for_each = local.rules

  name   = each.key
  when   = each.value
  effect = "allow"
}

resource "postern_bundle" "orders" {
  # Objects one by one, keyed by name,
  gateways   = { (postern_gateway.orders.name) = postern_gateway.orders }
  identities = { for i in [postern_identity.ana] : i.name => i }

  # or all the instances of a resource, if for_each's keys are the names,
  query_rules = postern_query_rule.this

  # or objects that are nowhere else.
  masking_policies = {
    ssn = { columns = ["*.*.ssn"], transform = "redact" }
  }

  # What must hold of the policy: a plan that breaks it fails.
  schemas = {
    shop = "create table customers (id int, name text, ssn text)"
  }
  tests = {
    "an engineer reads customers and sees no SSN" = {
      identity = postern_identity.ana.name
      sql      = "select name, ssn from customers"
      schema   = "shop"
      expect   = { effect = "allow", masked = ["ssn"] }
    }
    "an engineer changes nothing" = {
      identity = postern_identity.ana.name
      sql      = "update customers set name = 'x' where id = 1"
      expect   = { effect = "deny" }
    }
  }
}
