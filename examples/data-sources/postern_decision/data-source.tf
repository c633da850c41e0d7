# Nobody but a DBA may see an e-mail address, whoever changes the policy.
data "postern_decision" "email" {
  gateway  = "orders"
  identity = "ana"
  sql      = "select name, email from customers"
  schema   = "create table customers (id int, name text, email text)"
}

check "email_is_masked" {
  assert {
    condition     = contains(data.postern_decision.email.masked, "email")
    error_message = "Ana sees e-mail addresses: ${data.postern_decision.email.effect} by ${join(", ", data.postern_decision.email.rules)}."
  }
}
