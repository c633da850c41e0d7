variable "may_read" {
  description = "Who may read: a condition."
  type        = string
  default     = "statement.read_only"
}

variable "keep" {
  description = "Digest of a bundle that was released by hand and is to stay; null to release what this state describes."
  type        = string
  default     = null
}

variable "supersedes" {
  description = "Digest of a bundle that was released by hand and may be replaced."
  type        = string
  default     = null
}

variable "note" {
  description = "Why this is released."
  type        = string
  default     = null
}

variable "gateway" {
  description = "Name of the gateway."
  type        = string
  default     = "night"
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
