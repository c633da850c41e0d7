variable "who_may_read" {
  description = "Condition over identity and session."
  type        = string
  default     = "'engineering' in identity.groups"

  validation {
    condition     = length(provider::postern::condition_problems("query_rule.when", var.who_may_read)) == 0
    error_message = join("\n", provider::postern::condition_problems("query_rule.when", var.who_may_read))
  }
}

output "problems" {
  value = provider::postern::condition_problems("query_rule.when", var.who_may_read)
}
