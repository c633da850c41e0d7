variable "issuer_url" {
  description = "OpenID Connect issuer of people's and pipelines' tokens, exactly as they have it in iss."
  type        = string
}

variable "upstream_host" {
  description = "Where PostgreSQL is."
  type        = string
}

variable "upstream_port" {
  description = "PostgreSQL's port."
  type        = number
  default     = 5432
}

variable "upstream_tls" {
  description = "How the connection to PostgreSQL is protected."
  type        = string
  default     = "verify-full"
}

variable "upstream_credentials" {
  description = "Where the gateway finds the passwords of PostgreSQL's roles: env:NAME, file:/path or vault:path."
  type        = string
  default     = "file:/run/secrets/orders"
}

variable "contractors" {
  description = "Contractors who have access at present."
  type        = set(string)
  default     = ["carl"]
}

variable "control_url" {
  description = "Public URL of the control plane; null if nobody signs in with postern login."
  type        = string
  default     = null
}
