variable "protected" {
  description = "Whether the gateway's policy is protected from terraform destroy. To retire the gateway, apply false first."
  type        = bool
  default     = true
}

variable "gateway" {
  description = "Name of the gateway."
  type        = string
  default     = "retired"
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
