# PCI card data: full card numbers are for the payment service alone (PCI DSS 3.4:
# at most the first six and the last four digits are shown). Fraud analysts tell
# cards apart without knowing them. Nobody stores or reads verification codes,
# nobody decrypts by hand, and nobody connects without TLS.

gateway "payments" {
  upstream {
    host        = "payments-db.internal"
    tls         = "verify-full"
    credentials = "file:/run/secrets/payments"
  }
  issuer "corp" {
    url      = "https://login.example.com"
    audience = "postern"
  }
  issuer "cluster" {
    url      = "https://kubernetes.default.svc"
    audience = "postern-payments"
  }
}

identity "payment_service" {
  kind          = "service"
  when          = "token.iss == 'https://kubernetes.default.svc' && token.sub == 'system:serviceaccount:payments:api'"
  groups        = ["cardholder_data"]
  database_role = "payments_api"
}

identity "fraud_analysts" {
  kind          = "human"
  when          = "token.iss == 'https://login.example.com' && 'fraud' in token.groups"
  name_from     = "token.preferred_username"
  groups        = ["fraud"]
  database_role = "fraud"
}

identity "accounting" {
  kind          = "human"
  when          = "token.iss == 'https://login.example.com' && 'accounting' in token.groups && !('fraud' in token.groups)"
  name_from     = "token.preferred_username"
  groups        = ["accounting"]
  database_role = "accounting"
}

query_rule "service" {
  when   = <<-EOT
    identity.in_group('cardholder_data') &&
    statement.command in ['SELECT', 'INSERT', 'UPDATE'] &&
    statement.filtered &&
    statement.within('payments.*')
  EOT
  effect = "allow"
}

query_rule "fraud_reads" {
  when   = "identity.in_group('fraud') && statement.read_only && statement.within('payments.*')"
  effect = "allow"
}

query_rule "accounting_reads" {
  when   = "identity.in_group('accounting') && statement.read_only && statement.within('payments.charges')"
  effect = "allow"
}

query_rule "tls_only" {
  when    = "!session.tls"
  effect  = "deny"
  message = "Connect with sslmode=verify-full."
}

query_rule "no_decryption_by_hand" {
  when    = "identity.kind == 'human' && statement.calls('*.pgp_*_decrypt*')"
  effect  = "deny"
  message = "Keys are for the payment service alone."
}

query_rule "no_copies" {
  when    = "statement.command in ['COPY', 'CREATE TABLE AS', 'SELECT INTO', 'CREATE MATERIALIZED VIEW'] || statement.ddl"
  effect  = "deny"
  message = "Card data stays where it is."
}

query_rule "few_cards_at_a_time" {
  when     = "identity.kind == 'human'"
  effect   = "limit"
  max_rows = 100
}

masking_policy "card_numbers" {
  columns    = ["payments.cards.pan"]
  transform  = "partial"
  format     = "card"
  keep_first = 6
  keep_last  = 4
  unless     = "identity.in_group('cardholder_data')"
}

# The same number has the same token: enough to see one card used twice.
masking_policy "card_holders" {
  columns   = ["payments.cards.holder"]
  transform = "token"
  unless    = "identity.in_group('cardholder_data')"
  group     = "allow"
}

masking_policy "verification_codes" {
  columns   = ["payments.*.cvv", "payments.*.cvc"]
  transform = "null"
}

masking_policy "expiry" {
  columns   = ["payments.cards.expires_on"]
  transform = "truncate"
  unit      = "year"
  unless    = "identity.in_group('cardholder_data')"
}
