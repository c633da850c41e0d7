# The second policy: the first, and what must not be done is refused.

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

query_rule "orders" {
  when   = "statement.writes_to('public.orders')"
  effect = "deny"
}

query_rule "catalogs" {
  when   = "statement.writes_to('pg_catalog.*')"
  effect = "deny"
}

query_rule "code" {
  when   = "statement.class == 'function'"
  effect = "deny"
}

query_rule "server" {
  when   = "statement.class == 'role'"
  effect = "deny"
}

query_rule "lock" {
  when   = "statement.commands.exists(c, c == 'LOCK TABLE')"
  effect = "deny"
}

query_rule "schema" {
  when   = "statement.commands.exists(c, c.startsWith('DROP ') || c.startsWith('TRUNCATE') || c.startsWith('ALTER ') || c.startsWith('GRANT') || c.startsWith('REVOKE') || c.startsWith('CREATE DATABASE'))"
  effect = "deny"
}

query_rule "create" {
  when   = "statement.commands.exists(c, c in ['CREATE FUNCTION', 'CREATE PROCEDURE', 'CREATE TRIGGER', 'CREATE RULE', 'CREATE EVENT TRIGGER', 'CREATE EXTENSION', 'CREATE SERVER', 'CREATE PUBLICATION', 'CREATE SUBSCRIPTION'])"
  effect = "deny"
}

query_rule "customers" {
  when           = "statement.relations.exists(r, r.schema == 'public' && r.name == 'customers' && r.verb in ['update', 'delete'])"
  effect         = "hold"
  approval_group = "dba"
}

approval_group "dba" {
  members = ["dba"]
}
