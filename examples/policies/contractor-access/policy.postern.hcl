# Contractor access: a partner's analysts report on sales. They come from the
# partner's own identity provider, so that who leaves there is out here. They read
# the reporting schema, in office hours, from the partner's network, and never see
# who bought anything.

gateway "sales" {
  upstream {
    host        = "sales-db.internal"
    credentials = "vault:database/creds/sales"
  }
  issuer "corp" {
    url      = "https://login.example.com"
    audience = "postern"
  }
  issuer "partner" {
    url      = "https://id.partner.example"
    audience = "postern-sales"
  }
}

identity "contractors" {
  kind          = "human"
  when          = "token.iss == 'https://id.partner.example' && 'sales-reporting' in token.groups"
  name_from     = "'partner-' + token.sub"
  groups        = ["contractors"]
  database_role = "reporting"
}

identity "ines" {
  kind          = "human"
  when          = "token.iss == 'https://login.example.com' && token.sub == 'u-88'"
  groups        = ["sales_analytics"]
  database_role = "analyst"
}

# The relations of a statement are those that it names and those that stand behind
# them: who reads a view of reporting reads tables of sales.
query_rule "report" {
  when   = <<-EOT
    identity.in_group('contractors') &&
    statement.read_only &&
    statement.relations.all(r, r.schema in ['reporting', 'sales', 'pg_catalog'])
  EOT
  effect = "allow"
}

# This keeps people on the right path. What must not be seen is masked below,
# whichever path they take, and the role reporting has no privileges on sales.
query_rule "through_reports" {
  when    = "identity.in_group('contractors') && statement.reads('sales.*') && !statement.reads('reporting.*')"
  effect  = "deny"
  message = "Use the views in the schema reporting."
}

query_rule "analyse" {
  when   = "identity.in_group('sales_analytics') && statement.read_only"
  effect = "allow"
}

query_rule "office_hours" {
  when    = <<-EOT
    identity.in_group('contractors') &&
    (now.weekday('Europe/Lisbon') > 5 || now.hour('Europe/Lisbon') < 8 || now.hour('Europe/Lisbon') >= 19)
  EOT
  effect  = "deny"
  message = "Access is on weekdays from 8 to 19 h, Lisbon time."
}

# A login that several people share is used from several places. That proves
# nothing about staff, who travel, but contractors have one network.
query_rule "one_login_each" {
  when    = "identity.in_group('contractors') && 'shared_token' in session.signs"
  effect  = "deny"
  message = "This login is in use elsewhere. Each of you signs in with your own."
}

query_rule "partner_network" {
  when    = "identity.in_group('contractors') && !session.client_addr.in_cidr('198.51.100.0/24')"
  effect  = "deny"
  message = "Connect from the office network or its VPN."
}

query_rule "gentle" {
  when              = "identity.in_group('contractors')"
  effect            = "limit"
  max_rows          = 50000
  statement_timeout = "2m"
  read_only         = true
}

# The same customer has the same hash everywhere, so that returning customers can
# be counted without anybody being named.
masking_policy "who_bought" {
  columns   = ["sales.customers.email", "sales.customers.name"]
  transform = "hash"
  unless    = "identity.in_group('sales_analytics')"
  group     = "allow"
  count     = "allow"
}

masking_policy "when_exactly" {
  columns   = ["sales.purchases.bought_at"]
  transform = "truncate"
  unit      = "day"
  unless    = "identity.in_group('sales_analytics')"
}
