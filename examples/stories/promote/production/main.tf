# Production runs what staging runs: the same bundle, byte for byte. What must
# never be promoted is asked of it first.

terraform {
  required_version = ">= 1.8"
  required_providers {
    postern = {
      source = "posternhq/postern"
    }
  }
}

provider "postern" {}

data "postern_release" "staging" {
  gateway = "orders-staging"
}

data "postern_decision" "drop" {
  gateway  = "orders-production"
  bundle   = data.postern_release.staging.bundle
  identity = "ana"
  sql      = "drop table orders"
}

resource "postern_release" "production" {
  gateway = "orders-production"
  bundle  = data.postern_release.staging.bundle
  note    = "As on staging at revision ${data.postern_release.staging.revision}."

  lifecycle {
    precondition {
      condition     = data.postern_decision.drop.effect == "deny"
      error_message = "What staging runs lets Ana drop tables (rules: ${join(", ", data.postern_decision.drop.rules)}): it is not for production."
    }
  }
}
