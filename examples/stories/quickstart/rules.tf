# What they may do. The order of rules never matters: deny wins over hold, hold
# over allow, and what no rule mentions is denied.

locals {
  rules = {
    # Employees and contractors alike.
    people_read = {
      effect = "allow"
      when   = "identity.kind == 'human' && statement.read_only"
    }

    # The pipeline reads, and inserts into orders. The second line matters: one
    # statement may hold others.
    ci_writes_orders = {
      effect = "allow"
      when   = <<-CEL
        'ci' in identity.groups &&
        statement.commands.all(c, c in ['SELECT', 'INSERT']) &&
        statement.relations.all(r, r.verb == 'read' || (r.schema == 'public' && r.name == 'orders' && r.verb == 'insert'))
      CEL
    }

    dba_may = {
      effect = "allow"
      when   = "'dba' in identity.groups"
    }

    no_drop_database = {
      effect  = "deny"
      when    = "statement.commands.exists(c, c == 'DROP DATABASE')"
      message = "Databases are dropped by Terraform, never by hand."
    }

    unfiltered_writes = {
      effect         = "hold"
      when           = "statement.writes && !statement.filtered"
      approval_group = postern_approval_group.dba.name
      message        = "This changes every row of a table: a DBA has to approve it."
    }

    row_ceiling = {
      effect   = "limit"
      when     = "identity.kind != 'service'"
      max_rows = 10000
    }
  }
}

resource "postern_query_rule" "this" {
  for_each = local.rules

  name           = each.key
  when           = each.value.when
  effect         = each.value.effect
  message        = lookup(each.value, "message", null)
  approval_group = lookup(each.value, "approval_group", null)
  max_rows       = lookup(each.value, "max_rows", null)
}
