resource "postern_bundle" "orders" {
  gateways = {
    orders = {
      upstream = { host = "orders-db.internal" }
      issuer   = { corp = { url = "https://login.example.com", audience = "postern" } }
    }
  }
  identities = {
    ana = { kind = "human", when = "token.iss == 'https://login.example.com' && token.sub == 'u-17'", groups = ["engineering"] }
  }
  query_rules = {
    engineers_read = { when = "'engineering' in identity.groups && statement.read_only", effect = "allow" }
  }
}

resource "postern_release" "orders" {
  gateway = "orders"
  bundle  = postern_bundle.orders.digest
  note    = "Engineers may read."

  min_gateways        = 2
  deletion_protection = true
  on_destroy          = "deny_all"

  timeouts {
    create = "1m"
    update = "1m"
  }
}

# The same for a fleet: the canary proves the bundle for ten minutes before
# the gateway itself runs it.
resource "postern_bundle" "fleet" {
  gateways = {
    for name in ["fleet-canary", "fleet"] : name => {
      upstream = { host = "orders-db.internal" }
      issuer   = { corp = { url = "https://login.example.com", audience = "postern" } }
    }
  }
  query_rules = {
    everybody_reads = { when = "statement.read_only", effect = "allow" }
  }
}

resource "postern_release" "fleet" {
  gateway = "fleet"
  bundle  = postern_bundle.fleet.digest

  canary = {
    stages         = [["fleet-canary"]]
    observe        = "10m"
    max_error_rate = 0.01
  }
}
