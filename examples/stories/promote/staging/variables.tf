variable "allowed" {
  description = "What is allowed: name to condition."
  type        = map(string)
  default     = { read = "statement.read_only" }
}

variable "issuer_url" {
  description = "OpenID Connect issuer of people's tokens, exactly as they have it in iss."
  type        = string
}

variable "upstreams" {
  description = "The PostgreSQL servers of orders-staging and orders-production."
  type = map(object({
    host        = string
    port        = optional(number)
    tls         = optional(string)
    credentials = optional(string)
  }))
}
