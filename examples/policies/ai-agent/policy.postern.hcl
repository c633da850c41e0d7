# AI agent on a read replica: an assistant writes queries for analysts. Each of its
# statements is decided twice, as the analyst and as the agent, and the stricter
# decision counts: it can never do what the analyst could not do alone, and never
# more than what is said here for agents.

gateway "replica" {
  upstream {
    host        = "replica-1.internal"
    credentials = "file:/run/secrets/replica"
  }
  issuer "corp" {
    url      = "https://login.example.com"
    audience = "postern"
  }
}

identity "assistant" {
  kind          = "agent"
  when          = "token.iss == 'https://login.example.com' && token.sub == 'client:assistant'"
  groups        = ["agents"]
  database_role = "agent"
}

identity "analysts" {
  kind          = "human"
  when          = "token.iss == 'https://login.example.com' && 'analytics' in token.groups"
  name_from     = "token.preferred_username"
  groups        = ["analysts"]
  database_role = "analyst"
}

identity "rosa" {
  kind          = "human"
  when          = "token.iss == 'https://login.example.com' && token.sub == 'u-12'"
  groups        = ["analysts", "pii_readers"]
  database_role = "analyst"
}

query_rule "analysts_read" {
  when   = "identity.in_group('analysts') && statement.read_only && statement.relations.all(r, r.schema in ['warehouse', 'pg_catalog'])"
  effect = "allow"
}

query_rule "agents_read" {
  when   = "identity.in_group('agents') && statement.command in ['SELECT', 'EXPLAIN'] && statement.read_only && statement.within('warehouse.*')"
  effect = "allow"
}

# An agent alone, without a person behind it, has nothing to ask.
query_rule "agents_act_for_somebody" {
  when    = "identity.kind == 'agent' && !identity.delegated"
  effect  = "deny"
  message = "An agent acts for a person here: exchange the person's token."
}

query_rule "agents_see_little" {
  when              = "identity.kind == 'agent'"
  effect            = "limit"
  max_rows          = 500
  statement_timeout = "20s"
  read_only         = true
}

query_rule "no_code_for_agents" {
  when    = "identity.kind == 'agent' && statement.opaque"
  effect  = "deny"
  message = "Agents may call only functions that can be read."
}

masking_policy "people" {
  columns   = ["warehouse.*.email", "warehouse.*.full_name"]
  transform = "token"
  format    = "text"
  group     = "allow"
  count     = "allow"

  # What an agent reads ends up in a prompt: it never sees people, whoever it
  # acts for.
  unless = "identity.in_group('pii_readers') && !identity.delegated"
}

masking_policy "salaries" {
  columns   = ["warehouse.employees.salary"]
  transform = "round"
  digits    = -4
  unless    = "identity.in_group('pii_readers') && !identity.delegated"
}
