# The id is the name.
terraform import postern_identity.ana ana
