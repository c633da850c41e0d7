# A gateway before the shop's database, and who may do what with it.
#
# The control plane's endpoint, CA and token and the signing key come from the
# environment: POSTERN_ENDPOINT, POSTERN_CA_FILE, POSTERN_TOKEN and
# POSTERN_SIGNING_KEY.

terraform {
  required_version = ">= 1.8"
  required_providers {
    postern = {
      source = "posternhq/postern"
    }
  }
}

provider "postern" {}

resource "postern_gateway" "orders" {
  name           = "orders"
  default_effect = "deny"

  upstream = {
    host        = var.upstream_host
    port        = var.upstream_port
    tls         = var.upstream_tls
    credentials = var.upstream_credentials
  }

  # Whose tokens are passwords: the identity provider's, and the credentials
  # that the control plane mints for those who signed in with postern login.
  issuer = merge(
    { corp = { url = var.issuer_url, audience = "postern" } },
    var.control_url == null ? {} : { postern = { url = var.control_url, audience = "orders" } },
  )
}

# The whole policy, compiled at plan and signed at apply.
resource "postern_bundle" "orders" {
  gateways         = { orders = postern_gateway.orders }
  identities       = merge(postern_identity.staff, postern_identity.contractor, { orders-ci = postern_identity.orders_ci })
  query_rules      = postern_query_rule.this
  masking_policies = postern_masking_policy.customer_pii
  approval_groups  = { dba = postern_approval_group.dba }
}

# The one resource that changes what is enforced. Apply returns once the
# gateway enforces it.
resource "postern_release" "orders" {
  gateway = postern_gateway.orders.name
  bundle  = postern_bundle.orders.digest

  timeouts {
    create = "30s"
    update = "30s"
  }
}
