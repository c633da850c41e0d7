locals {
  columns = ["public.customers.ssn", "public.customers.name", "crm.people.ssn"]
}

output "masked" {
  value = [for c in local.columns : c if provider::postern::column_matches("*.*.ssn", c)]
}
