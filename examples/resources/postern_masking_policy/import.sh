# The id is the name.
terraform import postern_masking_policy.ssn ssn
