# One policy for two gateways, released to staging alone. Production gets what
# staging runs, from ../production, once it has proved itself.

terraform {
  required_version = ">= 1.8"
  required_providers {
    postern = {
      source = "posternhq/postern"
    }
  }
}

provider "postern" {}

resource "postern_gateway" "this" {
  for_each = var.upstreams

  name     = each.key
  upstream = each.value
  issuer   = { corp = { url = var.issuer_url, audience = "postern" } }
}

resource "postern_identity" "ana" {
  name = "ana"
  kind = "human"
  when = "token.iss == '${var.issuer_url}' && token.sub == 'u-17'"
}

resource "postern_query_rule" "allowed" {
  for_each = var.allowed

  name   = each.key
  effect = "allow"
  when   = each.value
}

resource "postern_bundle" "this" {
  gateways    = postern_gateway.this
  identities  = { ana = postern_identity.ana }
  query_rules = postern_query_rule.allowed
}

resource "postern_release" "staging" {
  gateway = postern_gateway.this["orders-staging"].name
  bundle  = postern_bundle.this.digest
}
