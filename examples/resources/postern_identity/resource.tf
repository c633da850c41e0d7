# One person.
resource "postern_identity" "ana" {
  name          = "ana"
  kind          = "human"
  when          = "token.iss == 'https://login.example.com' && token.sub == 'u-17'"
  groups        = ["engineering"]
  database_role = "ana"
}

# One pipeline, on one branch.
resource "postern_identity" "orders_ci" {
  name   = "orders-ci"
  kind   = "service"
  when   = "token.iss == 'https://token.actions.githubusercontent.com' && token.repository_id == '4711' && token.ref == 'refs/heads/main'"
  groups = ["ci"]
}

# Many people in one block: their names and groups come from their tokens.
resource "postern_identity" "partners" {
  name        = "partners"
  kind        = "human"
  when        = "token.iss == 'https://partners.example.com'"
  name_from   = "token.sub"
  groups_from = "token.groups"
}
