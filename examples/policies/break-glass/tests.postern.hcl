test "production is read" {
  token  = { iss = "https://login.example.com", sub = "u-1", preferred_username = "sam", groups = ["engineering"] }
  schema = "schema.sql"
  sql    = "select status, count(*) from billing.invoices group by status"
  expect {
    effect            = "allow"
    rules             = ["read_production"]
    max_rows          = 1000
    statement_timeout = "30s"
  }
}

test "and not changed" {
  token  = { iss = "https://login.example.com", sub = "u-1", preferred_username = "sam", groups = ["engineering"] }
  schema = "schema.sql"
  sql    = "update billing.invoices set status = 'void' where id = 12"
  expect {
    effect = "deny"
  }
}

test "in an incident, who is on call asks the commanders" {
  token = {
    iss                = "https://login.example.com"
    sub                = "u-2"
    preferred_username = "priya"
    groups             = ["engineering", "on_call", "board"]
  }
  schema = "schema.sql"
  sql    = "update billing.invoices set status = 'void' where id = 12"
  session {
    reason = "INC-2031 invoices sent twice"
  }
  expect {
    effect            = "hold"
    rules             = ["break_glass"]
    approval_groups   = ["incident_commanders"]
    message           = "Two incident commanders"
    statement_timeout = "5s"
    require_reason    = true
  }
}

test "who is not on call cannot ask" {
  token  = { iss = "https://login.example.com", sub = "u-1", preferred_username = "sam", groups = ["engineering"] }
  schema = "schema.sql"
  sql    = "update billing.invoices set status = 'void' where id = 12"
  session {
    reason = "INC-2031 invoices sent twice"
  }
  expect {
    effect = "deny"
    rules  = []
  }
}

test "a reason that names no incident is none" {
  token  = { iss = "https://login.example.com", sub = "u-2", preferred_username = "priya", groups = ["engineering", "on_call"] }
  schema = "schema.sql"
  sql    = "update billing.invoices set status = 'void' where id = 12"
  session {
    reason = "trust me"
  }
  expect {
    effect = "deny"
  }
}

test "not whole tables, even in an incident" {
  token  = { iss = "https://login.example.com", sub = "u-2", preferred_username = "priya", groups = ["engineering", "on_call"] }
  schema = "schema.sql"
  sql    = "delete from billing.invoices"
  session {
    reason = "INC-2031"
  }
  expect {
    effect  = "deny"
    rules   = ["whole_tables"]
    message = "which rows"
  }
}

test "nobody writes the audit log" {
  token  = { iss = "https://login.example.com", sub = "u-2", preferred_username = "priya", groups = ["engineering", "on_call"] }
  schema = "schema.sql"
  sql    = "delete from audit.log where who = 'priya'"
  session {
    reason = "INC-2031"
  }
  expect {
    effect = "deny"
    rules  = ["audit_log"]
  }
}

test "nor reads keys" {
  token  = { iss = "https://login.example.com", sub = "u-1", preferred_username = "sam", groups = ["engineering"] }
  schema = "schema.sql"
  sql    = "select count(*) from billing.invoices where exists (select from secrets.keys)"
  expect {
    effect = "deny"
    rules  = ["secrets"]
  }
}

test "nor changes the schema" {
  token  = { iss = "https://login.example.com", sub = "u-2", preferred_username = "priya", groups = ["engineering", "on_call"] }
  schema = "schema.sql"
  sql    = "alter table billing.invoices add column note text"
  session {
    reason = "INC-2031"
  }
  expect {
    effect = "deny"
    rules  = ["schema_changes"]
  }
}
