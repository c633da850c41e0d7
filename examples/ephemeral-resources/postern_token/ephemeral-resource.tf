variable "id_token" {
  description = "OpenID Connect token of the pipeline, as its platform hands it out."
  type        = string
  ephemeral   = true
  sensitive   = true
}

# A password of minutes for the pipeline, in no plan and no state.
ephemeral "postern_token" "orders" {
  gateway       = "orders"
  subject_token = var.id_token
}

# Log in at the gateway with it:
#
#   provider "postgresql" {
#     host     = "orders.postern.example.com"
#     sslmode  = "verify-full"
#     username = ephemeral.postern_token.orders.username
#     password = ephemeral.postern_token.orders.token
#   }
