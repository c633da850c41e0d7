resource "postern_masking_policy" "ssn" {
  name      = "ssn"
  columns   = ["*.*.ssn"]
  transform = "partial"
  keep_last = 4
  unless    = "'pii' in identity.groups"
}

resource "postern_masking_policy" "birthday" {
  name      = "birthday"
  columns   = ["public.customers.born"]
  transform = "truncate"
  unit      = "year"
}
