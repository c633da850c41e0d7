variable "gateway" {
  description = "Name of the gateway."
  type        = string
  default     = "shared"
}

variable "rules" {
  description = "The platform's own rules, which deny: name to condition."
  type        = map(string)
  default     = { no_ddl = "statement.ddl" }
}

variable "issuer_url" {
  description = "OpenID Connect issuer of people's tokens, exactly as they have it in iss."
  type        = string
}

variable "upstream" {
  description = "The PostgreSQL server."
  type = object({
    host        = string
    port        = optional(number)
    tls         = optional(string)
    credentials = optional(string)
  })
}
