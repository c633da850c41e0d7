# Jobs connect as themselves: the token that their platform gives them is the
# password. Each identity is matched on ids that the platform never gives to
# anybody else, because the names of repositories and projects can be taken over
# once they are free.

gateway "orders" {
  upstream {
    host        = "orders-db.internal"
    credentials = "file:/run/secrets/orders"
  }
  issuer "github" {
    url      = "https://token.actions.githubusercontent.com"
    audience = "postern"
  }
  issuer "gitlab" {
    url      = "https://gitlab.example.com"
    audience = "postern"
  }
  issuer "cluster" {
    url      = "https://oidc.cluster.example.com"
    audience = "postern"
  }
}

# Main branch of one repository, in the environment that its reviewers guard.
identity "orders-github" {
  kind          = "service"
  when          = "token.iss == 'https://token.actions.githubusercontent.com' && token.repository_owner_id == '9919' && token.repository_id == '296133' && token.ref == 'refs/heads/main' && token.environment == 'production'"
  groups        = ["ci"]
  database_role = "orders_ci"
}

# Protected branches of one project.
identity "orders-gitlab" {
  kind          = "service"
  when          = "token.iss == 'https://gitlab.example.com' && token.project_id == '4711' && token.ref_protected == 'true' && token.ref == 'main'"
  groups        = ["ci"]
  database_role = "orders_ci"
}

# One service account, by its uid: one of the same name that is made later is
# another.
identity "orders-report" {
  kind          = "service"
  when          = "token.iss == 'https://oidc.cluster.example.com' && token.sub == 'system:serviceaccount:orders:report' && token['kubernetes.io'].serviceaccount.uid == '1a7b1e0c-7a56-4c05-9e3c-0a2f3c5b6d7e'"
  groups        = ["reports"]
  database_role = "orders_report"
}

query_rule "ci_migrates" {
  when   = "identity.in_group('ci')"
  effect = "allow"
}

query_rule "reports_read" {
  when   = "identity.in_group('reports') && statement.read_only"
  effect = "allow"
}
