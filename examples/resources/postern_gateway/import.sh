# The id is the name.
terraform import postern_gateway.orders orders
