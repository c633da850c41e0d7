# Break glass: production is read-only for people. When there is an incident, its
# number is the reason, and two incident commanders agree, an engineer on call can
# change rows. Some things nobody does by hand, incident or not.

gateway "production" {
  upstream {
    host        = "prod-db.internal"
    credentials = "vault:database/creds/production"
  }
  issuer "corp" {
    url      = "https://login.example.com"
    audience = "postern"
  }
}

identity "engineers" {
  kind          = "human"
  when          = "token.iss == 'https://login.example.com' && 'engineering' in token.groups"
  name_from     = "token.preferred_username"
  groups        = ["engineering"]
  groups_from   = "token.groups.filter(g, g == 'on_call')"
  database_role = "engineer"
}

# Whoever commands incidents. They are named here, not in the identity provider:
# to make somebody a commander takes a reviewed change of this file.
approval_group "incident_commanders" {
  members    = ["amara", "jonas", "wei"]
  required   = 2
  expires_in = "10m"
}

query_rule "read_production" {
  when   = "identity.in_group('engineering') && statement.read_only && !statement.reads('secrets.*')"
  effect = "allow"
}

query_rule "break_glass" {
  when           = <<-EOT
    identity.in_group('on_call') &&
    statement.command in ['INSERT', 'UPDATE', 'DELETE'] &&
    session.reason.matches('^INC-[0-9]+')
  EOT
  effect         = "hold"
  message        = "Two incident commanders must agree."
  approval_group = "incident_commanders"
}

query_rule "whole_tables" {
  when    = "statement.writes && !statement.filtered && statement.command != 'INSERT'"
  effect  = "deny"
  message = "Not even in an incident: say which rows."
}

# A change of an invoice fires a trigger that writes the audit log: that is its
# purpose, and no way to write anything else there.
query_rule "audit_log" {
  when    = "statement.relations.exists(r, r.schema == 'audit' && r.verb != 'read' && r.via != 'trigger')"
  effect  = "deny"
  message = "The audit log is written by triggers alone."
}

query_rule "secrets" {
  when   = "statement.reads('secrets.*') || statement.writes_to('secrets.*')"
  effect = "deny"
}

query_rule "schema_changes" {
  when    = "statement.ddl"
  effect  = "deny"
  message = "The schema is changed by migrations."
}

query_rule "do_no_harm" {
  when              = "identity.in_group('engineering')"
  effect            = "limit"
  max_rows          = 1000
  statement_timeout = "30s"
}

query_rule "careful_writes" {
  when              = "statement.writes"
  effect            = "limit"
  statement_timeout = "5s"
  require_reason    = true
}
