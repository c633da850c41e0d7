data "postern_release" "orders" {
  gateway = "orders"
}

data "postern_bundle" "live" {
  digest = data.postern_release.orders.bundle
}

output "policy_in_force" {
  value = data.postern_bundle.live.policy
}
