resource "postern_gateway" "orders" {
  name           = "orders"
  default_effect = "deny"

  upstream = {
    host           = "orders-db.internal"
    port           = 5432
    fallback_hosts = ["orders-db2.internal"] # a standby, which may be promoted
    tls            = "verify-full"
    credentials    = "file:/run/secrets/orders"
  }

  issuer = {
    corp = {
      url      = "https://login.example.com"
      audience = "postern"
    }
  }
}
