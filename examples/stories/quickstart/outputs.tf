output "bundle" {
  description = "Digest of the policy in force: evidence names it beside each decision."
  value       = postern_bundle.orders.digest
}

output "revision" {
  description = "Revision of the release. It only grows."
  value       = postern_release.orders.revision
}

output "changes" {
  description = "What the last release changed."
  value       = postern_release.orders.changes
}
