test "an agent who says why sees a customer without what is not for support" {
  token = {
    iss                = "https://login.example.com"
    sub                = "u-2001"
    preferred_username = "jon"
    groups             = ["support"]
  }
  identity = "support_staff"
  schema   = "schema.sql"
  sql      = "select id, name, email, phone, birthday from shop.customers where id = 7"
  session {
    reason = "ticket 4711"
  }
  expect {
    effect         = "allow"
    rules          = ["read_shop"]
    masked         = ["birthday", "email", "phone"]
    unmasked       = ["id", "name"]
    max_rows       = 200
    require_reason = true
  }
}

test "without a reason customers are not read" {
  token  = { iss = "https://login.example.com", sub = "u-2001", preferred_username = "jon", groups = ["support"] }
  schema = "schema.sql"
  sql    = "select name from shop.customers where id = 7"
  expect {
    effect  = "deny"
    refused = "reason_required"
  }
}

test "the view of tickets masks the same address" {
  token  = { iss = "https://login.example.com", sub = "u-2001", preferred_username = "jon", groups = ["support"] }
  schema = "schema.sql"
  sql    = "select customer, contact from shop.ticket_overview where status = 'open'"
  session {
    reason = "morning round"
  }
  expect {
    effect   = "allow"
    masked   = ["contact"]
    unmasked = ["customer"]
  }
}

test "a customer is found by the address they give" {
  token  = { iss = "https://login.example.com", sub = "u-2001", preferred_username = "jon", groups = ["support"] }
  schema = "schema.sql"
  sql    = "select id, name from shop.customers where email = 'kim@example.org'"
  session {
    reason = "caller gave this address"
  }
  expect {
    effect = "allow"
  }
}

test "addresses are not searched by pattern" {
  token  = { iss = "https://login.example.com", sub = "u-2001", preferred_username = "jon", groups = ["support"] }
  schema = "schema.sql"
  sql    = "select id from shop.customers where email like '%@example.org'"
  session {
    reason = "curious"
  }
  expect {
    effect  = "deny"
    refused = "masked_in_predicate"
  }
}

test "a team lead sees contact data, but no birthdays" {
  identity = "maria"
  schema   = "schema.sql"
  sql      = "select email, phone, birthday from shop.customers where id = 7"
  session {
    reason = "ticket 4711, escalated"
  }
  expect {
    effect   = "allow"
    masked   = ["birthday"]
    unmasked = ["email", "phone"]
  }
}

test "a ticket is closed" {
  token  = { iss = "https://login.example.com", sub = "u-2001", preferred_username = "jon", groups = ["support"] }
  schema = "schema.sql"
  sql    = "update shop.tickets set status = 'closed' where id = 4711"
  expect {
    effect = "allow"
    rules  = ["answer_tickets"]
  }
}

test "all tickets at once are not closed" {
  token  = { iss = "https://login.example.com", sub = "u-2001", preferred_username = "jon", groups = ["support"] }
  schema = "schema.sql"
  sql    = "update shop.tickets set status = 'closed'"
  expect {
    effect = "deny"
    rules  = []
  }
}

test "orders are read, not changed" {
  identity = "maria"
  schema   = "schema.sql"
  sql      = "delete from shop.orders where id = 1"
  expect {
    effect = "deny"
  }
}

test "no exports" {
  identity = "maria"
  schema   = "schema.sql"
  sql      = "copy shop.customers to stdout"
  session {
    reason = "ticket 4711"
  }
  expect {
    effect  = "deny"
    rules   = ["no_exports"]
    message = "data team"
  }
}

test "somebody from another department is nobody here" {
  token = { iss = "https://login.example.com", sub = "u-3000", preferred_username = "lea", groups = ["marketing"] }
  sql   = "select 1"
  expect {
    effect  = "deny"
    refused = "no_identity"
  }
}
