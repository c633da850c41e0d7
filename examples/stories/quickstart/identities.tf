# Who is who: tokens are told apart by issuer and subject, never by an e-mail
# address.

locals {
  staff = {
    ana = { subject = "u-17", groups = ["engineering"] }
    ben = { subject = "u-3", groups = ["dba", "pii"] }
  }
  contractors = {
    carl = { subject = "u-42" }
  }
}

resource "postern_identity" "staff" {
  for_each = local.staff

  name          = each.key
  kind          = "human"
  when          = "token.iss == '${var.issuer_url}' && token.sub == '${each.value.subject}'"
  groups        = each.value.groups
  database_role = each.key
}

# A contract that ends is a name less in var.contractors: sessions that are open
# end with it.
resource "postern_identity" "contractor" {
  for_each = var.contractors

  name          = each.key
  kind          = "human"
  when          = "token.iss == '${var.issuer_url}' && token.sub == '${local.contractors[each.key].subject}'"
  groups        = ["contractors"]
  database_role = each.key
}

# The pipeline of one repository, on one branch.
resource "postern_identity" "orders_ci" {
  name          = "orders-ci"
  kind          = "service"
  when          = "token.iss == '${var.issuer_url}' && token.repository_id == '4711' && token.ref == 'refs/heads/main'"
  groups        = ["ci"]
  database_role = "orders_ci"
}

resource "postern_approval_group" "dba" {
  name       = "dba"
  members    = [postern_identity.staff["ben"].name]
  required   = 1
  expires_in = "15m"
}
