# A team, its schema and what its members may do there. Every name begins with
# the team's, so that the objects of several teams can be merged.

terraform {
  required_providers {
    postern = {
      source = "posternhq/postern"
    }
  }
}

locals {
  # All of the statement's relations are in the team's schema, and it has some.
  within = "statement.relations.size() > 0 && statement.relations.all(r, r.schema == '${var.name}')"
}

resource "postern_identity" "member" {
  for_each = var.members

  name          = "${var.name}.${each.key}"
  kind          = "human"
  when          = "token.iss == '${var.issuer_url}' && token.sub == '${each.value}'"
  groups        = [var.name]
  database_role = each.key
}

resource "postern_query_rule" "work" {
  name   = "${var.name}.work"
  effect = "allow"
  when   = "'${var.name}' in identity.groups && !statement.ddl && ${local.within}"
}

resource "postern_query_rule" "unfiltered" {
  name           = "${var.name}.unfiltered"
  effect         = "hold"
  when           = "'${var.name}' in identity.groups && statement.writes && !statement.filtered && statement.commands.exists(c, c in ['UPDATE', 'DELETE'])"
  approval_group = postern_approval_group.leads.name
  message        = "This changes every row of a table: a lead of the team has to approve it."
}

resource "postern_approval_group" "leads" {
  name    = "${var.name}.leads"
  members = [for lead in var.leads : postern_identity.member[lead].name]
}
