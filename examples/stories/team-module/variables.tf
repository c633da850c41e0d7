variable "gateway" {
  description = "Name of the gateway."
  type        = string
  default     = "teams"
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
