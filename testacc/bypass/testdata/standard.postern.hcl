# The first policy: columns are masked, everything else is allowed.

gateway "bypass" {
  upstream {
    host = "127.0.0.1"
    tls  = "disable"
  }
  issuer "corpus" {
    url      = "https://issuer.example"
    audience = "postern"
  }
}

# Each role is let in as itself.
identity "analyst" {
  kind = "human"
  when = "token.sub == 'analyst'"
}

identity "app" {
  kind = "human"
  when = "token.sub == 'app'"
}

identity "tblowner" {
  kind = "human"
  when = "token.sub == 'tblowner'"
}

identity "repl" {
  kind = "human"
  when = "token.sub == 'repl'"
}

identity "postgres" {
  kind = "human"
  when = "token.sub == 'postgres'"
}

masking_policy "redacted" {
  columns   = ["public.customers.email", "public.events.email"]
  transform = "redact"
}

masking_policy "last_four" {
  columns   = ["public.customers.card", "public.customers.ssn"]
  transform = "partial"
  keep_last = 4
}

query_rule "everything" {
  when   = "true"
  effect = "allow"
}
