# The id is the digest.
terraform import postern_bundle.orders sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855
