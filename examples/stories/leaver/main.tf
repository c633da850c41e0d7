# Somebody leaves: their line goes from people.auto.tfvars.json, and apply
# returns when their open sessions have ended.

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

resource "postern_identity" "person" {
  for_each = var.people

  name = each.key
  kind = "human"
  when = "token.iss == '${var.issuer_url}' && token.sub == '${each.value}'"
}

resource "postern_query_rule" "read" {
  name   = "read"
  effect = "allow"
  when   = "identity.kind == 'human' && statement.read_only"
}

resource "postern_bundle" "this" {
  gateways    = { (var.gateway) = postern_gateway.this }
  identities  = postern_identity.person
  query_rules = { read = postern_query_rule.read }
}

resource "postern_release" "this" {
  gateway = postern_gateway.this.name
  bundle  = postern_bundle.this.digest
}

output "changes" {
  description = "What the last release changed."
  value       = postern_release.this.changes
}
