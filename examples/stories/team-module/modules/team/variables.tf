variable "name" {
  description = "Name of the team and of its schema."
  type        = string

  validation {
    condition     = can(regex("^[a-z_]+$", var.name))
    error_message = "A team's name is made of lower-case letters and underscores: it stands in conditions."
  }
}

variable "issuer_url" {
  description = "OpenID Connect issuer of the members' tokens."
  type        = string
}

variable "members" {
  description = "Members: name to subject (sub) of their tokens."
  type        = map(string)
}

variable "leads" {
  description = "Members who approve what the team's rules hold."
  type        = set(string)
}
