test "the payment service sees cards" {
  token    = { iss = "https://kubernetes.default.svc", sub = "system:serviceaccount:payments:api" }
  identity = "payment_service"
  schema   = "schema.sql"
  sql      = "select pan, expires_on from payments.cards where id = $1"
  session {
    tls = true
  }
  expect {
    effect = "allow"
    rules  = ["service"]
    masked = []
  }
}

test "but no verification codes" {
  identity = "payment_service"
  schema   = "schema.sql"
  sql      = "select cvv from payments.cards where id = $1"
  session {
    tls = true
  }
  expect {
    effect = "allow"
    masked = ["cvv"]
  }
}

test "nor without TLS" {
  identity = "payment_service"
  schema   = "schema.sql"
  sql      = "select pan from payments.cards where id = $1"
  expect {
    effect  = "deny"
    rules   = ["tls_only"]
    message = "verify-full"
  }
}

test "a fraud analyst tells cards apart" {
  token  = { iss = "https://login.example.com", sub = "u-31", preferred_username = "tomas", groups = ["fraud"] }
  schema = "schema.sql"
  sql    = "select at, amount, pan, holder from payments.recent"
  session {
    tls = true
  }
  expect {
    effect   = "allow"
    rules    = ["fraud_reads"]
    masked   = ["holder", "pan"]
    unmasked = ["amount", "at"]
    max_rows = 100
  }
}

test "the generated column hides what it is made of" {
  token  = { iss = "https://login.example.com", sub = "u-31", preferred_username = "tomas", groups = ["fraud"] }
  schema = "schema.sql"
  sql    = "select id, pan_last4, expires_on from payments.cards"
  session {
    tls = true
  }
  expect {
    effect   = "allow"
    masked   = ["expires_on", "pan_last4"]
    unmasked = ["id"]
  }
}

test "numbers are not guessed" {
  token  = { iss = "https://login.example.com", sub = "u-31", preferred_username = "tomas", groups = ["fraud"] }
  schema = "schema.sql"
  sql    = "select id from payments.cards where substr(pan, 7, 6) = '123456'"
  session {
    tls = true
  }
  expect {
    effect  = "deny"
    refused = "masked_in_predicate"
  }
}

test "charges by holder" {
  token  = { iss = "https://login.example.com", sub = "u-31", preferred_username = "tomas", groups = ["fraud"] }
  schema = "schema.sql"
  sql    = "select holder, sum(amount) from payments.recent group by holder"
  session {
    tls = true
  }
  expect {
    effect = "allow"
    masked = ["holder"]
  }
}

test "nobody decrypts by hand" {
  token = { iss = "https://login.example.com", sub = "u-31", preferred_username = "tomas", groups = ["fraud"] }
  sql   = "select public.pgp_sym_decrypt('x', 'y')"
  session {
    tls = true
  }
  expect {
    effect  = "deny"
    message = "Keys are for the payment service alone"
  }
}

test "card data stays where it is" {
  token  = { iss = "https://login.example.com", sub = "u-31", preferred_username = "tomas", groups = ["fraud"] }
  schema = "schema.sql"
  sql    = "create table mine as select * from payments.cards"
  session {
    tls = true
  }
  expect {
    effect = "deny"
    rules  = ["no_copies"]
  }
}

test "accounting sees charges" {
  token    = { iss = "https://login.example.com", sub = "u-40", preferred_username = "ida", groups = ["accounting"] }
  identity = "accounting"
  schema   = "schema.sql"
  sql      = "select currency, sum(amount) from payments.charges group by currency"
  session {
    tls = true
  }
  expect {
    effect = "allow"
    rules  = ["accounting_reads"]
  }
}

test "and no cards" {
  token  = { iss = "https://login.example.com", sub = "u-40", preferred_username = "ida", groups = ["accounting"] }
  schema = "schema.sql"
  sql    = "select k.holder from payments.charges c join payments.cards k on k.id = c.card_id"
  session {
    tls = true
  }
  expect {
    effect = "deny"
    rules  = []
  }
}
