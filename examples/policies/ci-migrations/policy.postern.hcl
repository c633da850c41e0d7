# CI migrations: the deployment pipeline changes the schema, from the main branch
# of one repository and nowhere else. What destroys data waits for a database
# administrator; what touches roles or the server is not a migration at all.

gateway "app" {
  upstream {
    host        = "app-db.internal"
    credentials = "env:APP_DB_PASSWORD"
  }
  issuer "github" {
    url      = "https://token.actions.githubusercontent.com"
    audience = "postern-app"
  }
  issuer "corp" {
    url      = "https://login.example.com"
    audience = "postern"
  }
}

identity "migrations" {
  kind          = "service"
  when          = <<-EOT
    token.iss == 'https://token.actions.githubusercontent.com' &&
    token.repository_id == '471100815' &&
    token.ref == 'refs/heads/main' &&
    token.environment == 'production'
  EOT
  groups        = ["ci"]
  database_role = "app_owner"
}

identity "ben" {
  kind   = "human"
  when   = "token.iss == 'https://login.example.com' && token.sub == 'u-7'"
  groups = ["dba"]
}

identity "chloe" {
  kind   = "human"
  when   = "token.iss == 'https://login.example.com' && token.sub == 'u-9'"
  groups = ["dba"]
}

approval_group "dba" {
  members    = ["ben", "chloe"]
  expires_in = "30m"
}

query_rule "migrate" {
  when   = <<-EOT
    identity.in_group('ci') &&
    statement.class in ['ddl', 'write', 'read', 'misc'] &&
    statement.relations.all(r, r.schema == 'app' || r.schema == 'pg_catalog')
  EOT
  effect = "allow"
}

query_rule "dba_reads" {
  when   = "identity.in_group('dba') && statement.read_only"
  effect = "allow"
}

query_rule "what_destroys_waits" {
  when           = "identity.in_group('ci') && statement.relations.exists(r, r.verb in ['drop', 'truncate'])"
  effect         = "hold"
  message        = "This migration destroys data. A DBA looks at it first."
  approval_group = "dba"
}

query_rule "no_unfiltered_writes" {
  when    = "statement.command in ['UPDATE', 'DELETE'] && !statement.filtered"
  effect  = "deny"
  message = "Write a WHERE, and migrate rows in batches."
}

query_rule "no_roles" {
  when    = "identity.in_group('ci') && statement.class == 'role'"
  effect  = "deny"
  message = "Roles and grants are declared in Terraform."
}

query_rule "history_is_append_only" {
  when   = "statement.relations.exists(r, r.name == 'schema_migrations' && r.verb in ['update', 'delete', 'truncate', 'drop', 'alter'])"
  effect = "deny"
}

query_rule "migrations_are_short" {
  when              = "identity.in_group('ci')"
  effect            = "limit"
  statement_timeout = "5m"
}

# Not enforced yet: an index that is built without CONCURRENTLY locks its table.
query_rule "indexes_concurrently" {
  when   = "statement.commands.exists(c, c == 'CREATE INDEX') && !statement.shape.matches('(?i)^create (unique )?index concurrently')"
  effect = "deny"
  mode   = "observe"
}
