# A policy of two versions that share no rule: the old one is about t1, the new
# one about t2. See swap_test.go for what each statement must meet.

terraform {
  required_providers {
    postern = { source = "posternhq/postern" }
  }
}

provider "postern" {}

variable "issuer_url" { type = string }
variable "upstream" { type = any }

variable "version_of" {
  description = "old, new, other, or half, which is what must never be."
  type        = string
  default     = "old"
}

variable "sibling" {
  description = "Name of one more rule."
  type        = string
  default     = "sibling"
}

variable "adopts" {
  description = "Whether this state is another publisher's: it takes over what is live and makes no drafts."
  type        = bool
  default     = false
}

variable "supersedes" {
  description = "Digest of the bundle that this state may replace at first."
  type        = string
  default     = null
}

locals {
  tables = { old = "'t1', 't3'", new = "'t2', 't3'", other = "'t2', 't3'", half = "'t1', 't2'" }[var.version_of]
  gone   = { old = "t2", new = "t1", other = "t1", half = "t0" }[var.version_of]
  rules = {
    "${var.version_of}_allows"  = { effect = "allow", when = "statement.relations.exists(r, r.name in [${local.tables}])" }
    "${var.version_of}_denies"  = { effect = "deny", when = "statement.relations.exists(r, r.name == '${local.gone}')" }
    "${var.version_of}_narrows" = { effect = "limit", when = "true", max_rows = var.version_of == "old" ? 1000 : 2000 }
  }
  gateway = {
    upstream = var.upstream
    issuer   = { corp = { url = var.issuer_url, audience = "postern" } }
  }
}

resource "postern_query_rule" "this" {
  for_each = var.adopts ? {} : local.rules

  name     = each.key
  effect   = each.value.effect
  when     = each.value.when
  max_rows = lookup(each.value, "max_rows", null)
}

resource "postern_query_rule" "sibling" {
  count = var.adopts ? 0 : 1

  name   = var.sibling
  effect = "deny"
  when   = "statement.ddl"
}

resource "postern_bundle" "this" {
  gateways    = { swap = local.gateway }
  identities  = { ana = { kind = "human", when = "token.iss == '${var.issuer_url}' && token.sub == 'u-17'" } }
  query_rules = var.adopts ? local.rules : merge(postern_query_rule.this, { for r in postern_query_rule.sibling : r.name => r })
}

resource "postern_release" "this" {
  gateway    = "swap"
  bundle     = postern_bundle.this.digest
  supersedes = var.supersedes
}

output "bundle" { value = postern_bundle.this.digest }
