# A token for the processes of a gateway, in no plan and no state.
ephemeral "postern_api_token" "orders" {
  name       = "gateway orders"
  roles      = ["gateway:orders"]
  expires_in = "720h"
}

# Hand it to a write-only argument, such as that of a secret store:
#
#   secret_string_wo         = ephemeral.postern_api_token.orders.token
#   secret_string_wo_version = 1
