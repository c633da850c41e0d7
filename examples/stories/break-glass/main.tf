# A policy that somebody may have to roll back at night, without Terraform:
#
#   postern release rollback orders --key ops.key --note 'nobody can work'
#
# The next plan fails and says what is live. To take it back, set supersedes to
# the digest that it names; to keep it, set bundle to that digest.

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
  when   = var.may_read
}

resource "postern_bundle" "this" {
  gateways    = { (var.gateway) = postern_gateway.this }
  identities  = { ana = postern_identity.ana }
  query_rules = { read = postern_query_rule.read }
}

resource "postern_release" "this" {
  gateway    = postern_gateway.this.name
  bundle     = var.keep == null ? postern_bundle.this.digest : var.keep
  supersedes = var.supersedes
  note       = var.note
}
