# Promote to production what runs on staging.
data "postern_release" "staging" {
  gateway = "orders-staging"
}

resource "postern_release" "production" {
  gateway = "orders-production"
  bundle  = data.postern_release.staging.bundle
  note    = "As on staging at revision ${data.postern_release.staging.revision}."
}
