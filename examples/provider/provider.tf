terraform {
  required_providers {
    postern = {
      source = "posternhq/postern"
    }
  }
}

# The token and the signing key come from the environment: POSTERN_TOKEN and
# POSTERN_SIGNING_KEY.
provider "postern" {
  endpoint = "https://postern.example.com:8443"
}
