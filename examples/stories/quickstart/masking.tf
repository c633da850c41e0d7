# What is masked for everybody outside the group pii, wherever in a result it
# appears: through a view, under an alias, in a prepared statement.

locals {
  masked = {
    customer_email = { columns = ["public.customers.email"], format = "email" }
    customer_ssn   = { columns = ["public.customers.ssn"], keep_last = 4 }
    customer_card  = { columns = ["public.customers.card"], format = "card", keep_last = 4 }
  }
}

resource "postern_masking_policy" "customer_pii" {
  for_each = local.masked

  name      = each.key
  columns   = each.value.columns
  transform = "partial"
  format    = lookup(each.value, "format", null)
  keep_last = lookup(each.value, "keep_last", null)
  unless    = "'pii' in identity.groups"
}
