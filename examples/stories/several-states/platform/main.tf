# The platform team owns the gateway, its people and its release. The other
# states own their rules, each within a namespace; this one includes what they
# uploaded last. An object outside its namespace, or one of this state's inside
# another's, fails the plan.

terraform {
  required_version = ">= 1.8"
  required_providers {
    postern = {
      source = "posternhq/postern"
    }
  }
}

provider "postern" {}

data "terraform_remote_state" "team" {
  for_each = toset(["payments", "support"])

  backend = "local"
  config  = { path = "${path.module}/../${each.key}/terraform.tfstate" }
}

resource "postern_gateway" "this" {
  name     = var.gateway
  upstream = var.upstream
  issuer   = { corp = { url = var.issuer_url, audience = "postern" } }
}

resource "postern_identity" "person" {
  for_each = {
    ana = { subject = "u-17", groups = ["payments"] }
    bo  = { subject = "u-18", groups = ["support"] }
  }

  name   = each.key
  kind   = "human"
  when   = "token.iss == '${var.issuer_url}' && token.sub == '${each.value.subject}'"
  groups = each.value.groups
}

resource "postern_query_rule" "own" {
  for_each = var.rules

  name   = each.key
  effect = "deny"
  when   = each.value
}

resource "postern_bundle" "this" {
  gateways    = { (var.gateway) = postern_gateway.this }
  identities  = postern_identity.person
  query_rules = postern_query_rule.own
  includes    = { for name, state in data.terraform_remote_state.team : name => state.outputs.bundle }
}

resource "postern_release" "this" {
  gateway = postern_gateway.this.name
  bundle  = postern_bundle.this.digest
}
