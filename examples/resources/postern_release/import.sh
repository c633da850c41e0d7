# The id is the gateway's name.
terraform import postern_release.orders orders
