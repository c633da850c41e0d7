# Support desk: people who answer tickets need customers and their orders, one at
# a time. They do not need e-mail addresses in bulk, birthdays or notes of other
# teams. Team leads see contact data as it is. Everybody says which ticket it is
# about before customers are read.

gateway "support" {
  upstream {
    host        = "shop-db.internal"
    credentials = "file:/run/secrets/shop-db"
  }
  issuer "corp" {
    url      = "https://login.example.com"
    audience = "postern"
  }
}

identity "maria" {
  kind          = "human"
  when          = "token.iss == 'https://login.example.com' && token.sub == 'u-1042'"
  groups        = ["support", "support_leads"]
  database_role = "support"
}

# One block for all agents: the identity provider says who they are.
identity "support_staff" {
  kind          = "human"
  when          = "token.iss == 'https://login.example.com' && token.sub != 'u-1042' && 'support' in token.groups"
  name_from     = "token.preferred_username"
  groups        = ["support"]
  database_role = "support"
}

query_rule "read_shop" {
  when   = "identity.in_group('support') && statement.read_only && statement.within('shop.*')"
  effect = "allow"
}

query_rule "answer_tickets" {
  when   = <<-EOT
    identity.in_group('support') &&
    statement.command in ['INSERT', 'UPDATE'] &&
    statement.filtered &&
    statement.within('shop.ticket*')
  EOT
  effect = "allow"
}

query_rule "say_why" {
  when           = "statement.reads('shop.customers')"
  effect         = "limit"
  require_reason = true
}

query_rule "one_screen_of_rows" {
  when              = "identity.in_group('support')"
  effect            = "limit"
  max_rows          = 200
  statement_timeout = "15s"
}

query_rule "no_exports" {
  when    = "statement.commands.exists(c, c == 'COPY')"
  effect  = "deny"
  message = "Exports are made by the data team. Ask in #data-requests."
}

masking_policy "contact_data" {
  columns   = ["shop.customers.email"]
  transform = "partial"
  format    = "email"
  unless    = "identity.in_group('support_leads')"

  # A customer who calls is found by the address that they give.
  predicates = "equality"
}

masking_policy "phone_numbers" {
  columns   = ["shop.customers.phone"]
  transform = "partial"
  format    = "phone"
  keep_last = 3
  unless    = "identity.in_group('support_leads')"
}

masking_policy "not_for_support" {
  columns   = ["shop.customers.birthday", "shop.customers.credit_note"]
  transform = "null"
}
