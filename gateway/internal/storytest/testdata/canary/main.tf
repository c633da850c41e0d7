# Two gateways, of which one proves every policy first.

terraform {
  required_providers {
    postern = { source = "posternhq/postern" }
  }
}

provider "postern" {}

variable "issuer_url" { type = string }
variable "upstream" { type = any }

variable "may_read" {
  type    = string
  default = "statement.read_only"
}

resource "postern_bundle" "this" {
  gateways = {
    for name in ["canary", "rest"] : name => {
      upstream = var.upstream
      issuer   = { corp = { url = var.issuer_url, audience = "postern" } }
    }
  }
  identities  = { ana = { kind = "human", when = "token.iss == '${var.issuer_url}' && token.sub == 'u-17'" } }
  query_rules = { read = { effect = "allow", when = var.may_read } }
}

resource "postern_release" "rest" {
  gateway = "rest"
  bundle  = postern_bundle.this.digest

  canary = {
    stages         = [["canary"]]
    observe        = "2s"
    max_error_rate = 0.5
  }
}
