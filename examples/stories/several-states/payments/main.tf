# The payments team's own state: rules within the namespace payments, uploaded
# as a bundle that touches no traffic. Whoever owns the gateway includes it.

terraform {
  required_version = ">= 1.8"
  required_providers {
    postern = {
      source = "posternhq/postern"
    }
  }
}

provider "postern" {}

variable "refund_limit" {
  description = "Most rows that a statement on refunds may return."
  type        = number
  default     = 1000
}

resource "postern_query_rule" "this" {
  for_each = {
    "payments.refunds" = {
      effect = "allow"
      when   = "'payments' in identity.groups && statement.relations.size() > 0 && statement.relations.all(r, r.schema == 'payments')"
    }
    "payments.ceiling" = {
      effect   = "limit"
      when     = "statement.relations.exists(r, r.schema == 'payments')"
      max_rows = var.refund_limit
    }
  }

  name     = each.key
  effect   = each.value.effect
  when     = each.value.when
  max_rows = lookup(each.value, "max_rows", null)
}

resource "postern_bundle" "payments" {
  query_rules = postern_query_rule.this
}

output "bundle" {
  description = "Digest of the team's rules, for the state that owns the gateway."
  value       = postern_bundle.payments.digest
}
