test "a contractor reports on a Wednesday morning" {
  token  = { iss = "https://id.partner.example", sub = "77", groups = ["sales-reporting"] }
  now    = "2026-03-04T10:00:00Z"
  schema = "schema.sql"
  sql    = "select product, revenue from reporting.by_product"
  session {
    client_addr = "198.51.100.20"
  }
  expect {
    effect            = "allow"
    rules             = ["report"]
    masked            = []
    max_rows          = 50000
    statement_timeout = "2m"
    read_only         = true
  }
}

test "customers are hashed, and days are all there is of times" {
  token  = { iss = "https://id.partner.example", sub = "77", groups = ["sales-reporting"] }
  now    = "2026-03-04T10:00:00Z"
  schema = "schema.sql"
  sql    = "select product, customer, bought_at from reporting.purchases"
  session {
    client_addr = "198.51.100.20"
  }
  expect {
    effect   = "allow"
    masked   = ["bought_at", "customer"]
    unmasked = ["product"]
  }
}

test "on Sunday the office is closed" {
  token  = { iss = "https://id.partner.example", sub = "77", groups = ["sales-reporting"] }
  now    = "2026-03-08T10:00:00Z"
  schema = "schema.sql"
  sql    = "select revenue from reporting.by_product"
  session {
    client_addr = "198.51.100.20"
  }
  expect {
    effect  = "deny"
    rules   = ["office_hours"]
    message = "weekdays"
  }
}

test "not from a hotel" {
  token  = { iss = "https://id.partner.example", sub = "77", groups = ["sales-reporting"] }
  now    = "2026-03-04T10:00:00Z"
  schema = "schema.sql"
  sql    = "select revenue from reporting.by_product"
  session {
    client_addr = "203.0.113.9"
  }
  expect {
    effect = "deny"
    rules  = ["partner_network"]
  }
}

test "the tables behind the reports are not for contractors" {
  token  = { iss = "https://id.partner.example", sub = "77", groups = ["sales-reporting"] }
  now    = "2026-03-04T10:00:00Z"
  schema = "schema.sql"
  sql    = "select email from sales.customers"
  session {
    client_addr = "198.51.100.20"
  }
  expect {
    effect  = "deny"
    rules   = ["through_reports"]
    message = "reporting"
  }
}

test "nobody is looked up by address" {
  token  = { iss = "https://id.partner.example", sub = "77", groups = ["sales-reporting"] }
  now    = "2026-03-04T10:00:00Z"
  schema = "schema.sql"
  sql    = "select amount from reporting.purchases where customer = 'kim@example.org'"
  session {
    client_addr = "198.51.100.20"
  }
  expect {
    effect  = "deny"
    refused = "masked_in_predicate"
  }
}

test "returning customers can be counted" {
  token  = { iss = "https://id.partner.example", sub = "77", groups = ["sales-reporting"] }
  now    = "2026-03-04T10:00:00Z"
  schema = "schema.sql"
  sql    = "select product, count(distinct customer) from reporting.purchases group by product"
  session {
    client_addr = "198.51.100.20"
  }
  expect {
    effect = "allow"
  }
}

test "a contractor writes nothing" {
  token  = { iss = "https://id.partner.example", sub = "77", groups = ["sales-reporting"] }
  now    = "2026-03-04T10:00:00Z"
  schema = "schema.sql"
  sql    = "delete from reporting.purchases where id = 1"
  session {
    client_addr = "198.51.100.20"
  }
  expect {
    effect = "deny"
  }
}

test "who left the partner's group is out" {
  token = { iss = "https://id.partner.example", sub = "77", groups = [] }
  sql   = "select 1"
  expect {
    effect  = "deny"
    refused = "no_identity"
  }
}

test "our own analysts see everything, at any time" {
  identity = "ines"
  now      = "2026-03-08T23:00:00Z"
  schema   = "schema.sql"
  sql      = "select name, email from sales.customers where email like '%@example.org'"
  expect {
    effect = "allow"
    rules  = ["analyse"]
    masked = []
  }
}

test "contractors who share a login are refused" {
  token  = { iss = "https://id.partner.example", sub = "77", groups = ["sales-reporting"] }
  now    = "2026-03-04T10:00:00Z"
  schema = "schema.sql"
  sql    = "select revenue from reporting.by_product"
  session {
    client_addr = "198.51.100.20"
    signs       = ["shared_token"]
  }
  expect {
    effect = "deny"
    rules  = ["one_login_each"]
  }
}

test "another sign is no reason" {
  token  = { iss = "https://id.partner.example", sub = "77", groups = ["sales-reporting"] }
  now    = "2026-03-04T10:00:00Z"
  schema = "schema.sql"
  sql    = "select revenue from reporting.by_product"
  session {
    client_addr = "198.51.100.20"
    signs       = ["human_as_job"]
  }
  expect {
    effect = "allow"
  }
}
