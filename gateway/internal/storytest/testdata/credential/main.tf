# A credential that the control plane mints logs in at the gateway.

terraform {
  required_providers {
    postern = { source = "posternhq/postern" }
  }
}

provider "postern" {}

variable "issuer_url" { type = string }
variable "upstream" { type = any }
variable "control_url" { type = string }
variable "gateway" { type = map(string) }

variable "id_token" {
  type      = string
  ephemeral = true
  sensitive = true
  default   = null
}

variable "login" {
  type    = bool
  default = false
}

resource "postern_bundle" "this" {
  gateways = {
    credential = {
      upstream = var.upstream
      issuer = {
        corp    = { url = var.issuer_url, audience = "postern" }
        postern = { url = var.control_url, audience = "credential" }
      }
    }
  }
  identities  = { ana = { kind = "human", when = "token.iss == '${var.issuer_url}' && token.sub == 'u-17'" } }
  query_rules = { read = { effect = "allow", when = "statement.read_only" } }
}

resource "postern_release" "this" {
  gateway = "credential"
  bundle  = postern_bundle.this.digest
}

ephemeral "postern_token" "ana" {
  count = var.login ? 1 : 0

  gateway       = postern_release.this.gateway
  subject_token = var.id_token
}

resource "terraform_data" "login" {
  count = var.login ? 1 : 0

  provisioner "local-exec" {
    command = "psql -XAt -c 'SELECT session_user' > session_user"
    environment = {
      PGHOST        = var.gateway.host
      PGPORT        = var.gateway.port
      PGDATABASE    = "shop"
      PGSSLMODE     = "verify-full"
      PGSSLROOTCERT = var.gateway.ca
      PGUSER        = ephemeral.postern_token.ana[0].username
      PGPASSWORD    = ephemeral.postern_token.ana[0].token
    }
  }
}
