resource "postern_approval_group" "dba" {
  name       = "dba"
  members    = ["ben", "chloe", "dora"]
  required   = 2
  expires_in = "30m"
}
