test "the pipeline adds a column" {
  token = {
    iss           = "https://token.actions.githubusercontent.com"
    sub           = "repo:example/app:environment:production"
    repository_id = "471100815"
    ref           = "refs/heads/main"
    environment   = "production"
  }
  identity = "migrations"
  schema   = "schema.sql"
  sql      = "alter table app.accounts add column seats integer not null default 1"
  expect {
    effect            = "allow"
    rules             = ["migrate"]
    statement_timeout = "5m"
  }
}

test "a branch is not main" {
  token = {
    iss           = "https://token.actions.githubusercontent.com"
    sub           = "repo:example/app:ref:refs/heads/try"
    repository_id = "471100815"
    ref           = "refs/heads/try"
    environment   = "production"
  }
  sql = "select 1"
  expect {
    refused = "no_identity"
  }
}

test "a pull request has no environment" {
  token = {
    iss           = "https://token.actions.githubusercontent.com"
    sub           = "repo:example/app:pull_request"
    repository_id = "471100815"
    ref           = "refs/heads/main"
  }
  sql = "select 1"
  expect {
    refused = "no_identity"
  }
}

test "a dropped table waits for a DBA" {
  identity = "migrations"
  schema   = "schema.sql"
  sql      = "drop table app.projects"
  expect {
    effect          = "hold"
    rules           = ["what_destroys_waits"]
    approval_groups = ["dba"]
    message         = "destroys data"
  }
}

test "so does one among other statements" {
  identity = "migrations"
  schema   = "schema.sql"
  sql      = "begin; alter table app.projects add column archived boolean; truncate app.projects; commit"
  expect {
    effect = "hold"
  }
}

test "a backfill without WHERE is refused" {
  identity = "migrations"
  schema   = "schema.sql"
  sql      = "update app.accounts set plan = 'team'"
  expect {
    effect = "deny"
    rules  = ["no_unfiltered_writes"]
  }
}

test "a WHERE that is always true is none" {
  identity = "migrations"
  schema   = "schema.sql"
  sql      = "delete from app.accounts where 1 = 1"
  expect {
    effect = "deny"
    rules  = ["no_unfiltered_writes"]
  }
}

test "a backfill in batches is fine" {
  identity = "migrations"
  schema   = "schema.sql"
  sql      = "update app.accounts set plan = 'team' where created_at < '2020-01-01'"
  expect {
    effect = "allow"
  }
}

test "roles are not migrated" {
  identity = "migrations"
  schema   = "schema.sql"
  sql      = "grant select on app.accounts to public"
  expect {
    effect  = "deny"
    rules   = ["no_roles"]
    message = "Terraform"
  }
}

test "history is appended to" {
  identity = "migrations"
  schema   = "schema.sql"
  sql      = "insert into app.schema_migrations (version) values ('20260304')"
  expect {
    effect = "allow"
  }
}

test "and not rewritten" {
  identity = "migrations"
  schema   = "schema.sql"
  sql      = "delete from app.schema_migrations where version = '20260304'"
  expect {
    effect = "deny"
    rules  = ["history_is_append_only"]
  }
}

test "an index that locks is noticed" {
  identity = "migrations"
  schema   = "schema.sql"
  sql      = "create index accounts_by_name on app.accounts (name)"
  expect {
    effect   = "allow"
    observed = ["indexes_concurrently"]
  }
}

test "an index that does not lock is not" {
  identity = "migrations"
  schema   = "schema.sql"
  sql      = "create index concurrently accounts_by_name on app.accounts (name)"
  expect {
    effect   = "allow"
    observed = []
  }
}

test "a DBA reads, and changes nothing by hand" {
  identity = "ben"
  schema   = "schema.sql"
  sql      = "select * from app.accounts; alter table app.accounts drop column plan"
  expect {
    effect = "deny"
  }
}
