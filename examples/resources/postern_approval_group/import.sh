# The id is the name.
terraform import postern_approval_group.dba dba
