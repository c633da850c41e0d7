test "the assistant counts for an analyst" {
  token = {
    iss                = "https://login.example.com"
    sub                = "u-50"
    preferred_username = "noor"
    groups             = ["analytics"]
    act                = { sub = "client:assistant" }
  }
  schema = "schema.sql"
  sql    = "select day, kind, events from warehouse.daily"
  expect {
    effect            = "allow"
    rules             = ["agents_read", "analysts_read"]
    masked            = []
    max_rows          = 500
    statement_timeout = "20s"
    read_only         = true
  }
}

test "it does not see people, even for somebody who does" {
  identity = "rosa"
  actor    = "assistant"
  schema   = "schema.sql"
  sql      = "select full_name, department, salary from warehouse.employees"
  expect {
    effect   = "allow"
    masked   = ["full_name", "salary"]
    unmasked = ["department"]
  }
}

test "the same person without it does" {
  identity = "rosa"
  schema   = "schema.sql"
  sql      = "select full_name, salary from warehouse.employees where salary > 100000"
  expect {
    effect = "allow"
    rules  = ["analysts_read"]
    masked = []
  }
}

test "an agent alone is refused" {
  token  = { iss = "https://login.example.com", sub = "client:assistant" }
  schema = "schema.sql"
  sql    = "select kind from warehouse.events"
  expect {
    effect  = "deny"
    rules   = ["agents_act_for_somebody"]
    message = "acts for a person"
  }
}

test "an agent that nobody registered is refused" {
  token = {
    iss                = "https://login.example.com"
    sub                = "u-50"
    preferred_username = "noor"
    groups             = ["analytics"]
    act                = { sub = "client:unknown" }
  }
  sql = "select 1"
  expect {
    effect  = "deny"
    refused = "bad_token"
  }
}

test "an agent runs no code that cannot be read" {
  identity = "rosa"
  actor    = "assistant"
  schema   = "schema.sql"
  sql      = "select warehouse.refresh()"
  expect {
    effect = "deny"
  }
}

test "an agent writes nothing" {
  identity = "rosa"
  actor    = "assistant"
  schema   = "schema.sql"
  sql      = "with gone as (delete from warehouse.events returning id) select count(*) from gone"
  expect {
    effect = "deny"
  }
}

test "people are not found by their salary" {
  token  = { iss = "https://login.example.com", sub = "u-50", preferred_username = "noor", groups = ["analytics"] }
  schema = "schema.sql"
  sql    = "select department from warehouse.employees where salary > 200000"
  expect {
    effect  = "deny"
    refused = "masked_in_predicate"
  }
}

test "events are counted by who caused them" {
  identity = "rosa"
  actor    = "assistant"
  schema   = "schema.sql"
  sql      = "select e.email, count(*) from warehouse.employees e join warehouse.events v on v.employee_id = e.id group by e.email"
  expect {
    effect = "allow"
    masked = ["email"]
  }
}
