# The support desk's own state, like the payments team's.

terraform {
  required_version = ">= 1.8"
  required_providers {
    postern = {
      source = "posternhq/postern"
    }
  }
}

provider "postern" {}

variable "namespace" {
  description = "What the names of the desk's objects begin with."
  type        = string
  default     = "support"
}

resource "postern_query_rule" "tickets" {
  name   = "${var.namespace}.tickets"
  effect = "allow"
  when   = "'support' in identity.groups && statement.relations.size() > 0 && statement.relations.all(r, r.schema == 'support')"
}

resource "postern_bundle" "support" {
  query_rules = { (postern_query_rule.tickets.name) = postern_query_rule.tickets }
}

output "bundle" {
  description = "Digest of the desk's rules, for the state that owns the gateway."
  value       = postern_bundle.support.digest
}
