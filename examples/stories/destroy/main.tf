# A gateway that is taken out of service. Destroying its release is refused
# while it is protected; then it leaves a policy that refuses everybody, rather
# than the last one for ever.

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
  name     = var.gateway
  upstream = var.upstream
  issuer   = { corp = { url = var.issuer_url, audience = "postern" } }
}

resource "postern_identity" "ana" {
  name = "ana"
  kind = "human"
  when = "token.iss == '${var.issuer_url}' && token.sub == 'u-17'"
}

resource "postern_query_rule" "read" {
  name   = "read"
  effect = "allow"
  when   = "statement.read_only"
}

resource "postern_bundle" "this" {
  gateways    = { (var.gateway) = postern_gateway.this }
  identities  = { ana = postern_identity.ana }
  query_rules = { read = postern_query_rule.read }
}

resource "postern_release" "this" {
  gateway             = postern_gateway.this.name
  bundle              = postern_bundle.this.digest
  deletion_protection = var.protected
  on_destroy          = "deny_all"
}
