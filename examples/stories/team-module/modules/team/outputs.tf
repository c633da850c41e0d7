output "identities" {
  description = "The members, by name, for a bundle."
  value       = { for i in postern_identity.member : i.name => i }
}

output "query_rules" {
  description = "The team's rules, by name, for a bundle."
  value       = { for r in [postern_query_rule.work, postern_query_rule.unfiltered] : r.name => r }
}

output "approval_groups" {
  description = "The team's approval groups, by name, for a bundle."
  value       = { (postern_approval_group.leads.name) = postern_approval_group.leads }
}
