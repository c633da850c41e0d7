# The id is the name.
terraform import postern_query_rule.engineers_read engineers_read
