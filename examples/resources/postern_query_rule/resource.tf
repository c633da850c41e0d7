resource "postern_query_rule" "engineers_read" {
  name   = "engineers_read"
  when   = "'engineering' in identity.groups && statement.read_only"
  effect = "allow"
}

resource "postern_query_rule" "no_drop_database" {
  name    = "no_drop_database"
  when    = "statement.commands.exists(c, c == 'DROP DATABASE')"
  effect  = "deny"
  message = "Databases are dropped by Terraform, never by hand."
}

resource "postern_approval_group" "dba" {
  name    = "dba"
  members = ["ben", "chloe"]
}

resource "postern_query_rule" "unfiltered_writes" {
  name           = "unfiltered_writes"
  when           = "statement.writes && !statement.filtered"
  effect         = "hold"
  approval_group = postern_approval_group.dba.name
}

resource "postern_query_rule" "row_ceiling" {
  name     = "row_ceiling"
  when     = "identity.kind != 'service'"
  effect   = "limit"
  max_rows = 10000
}
