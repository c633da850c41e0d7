#!/bin/sh
# Generates the registry pages of the provider in docs/ from its schemas, the
# templates in provider/templates and the examples. With --check it changes
# nothing, and fails if the pages are not what it would generate.
set -eu
cd "$(dirname "$0")/../.."

command -v terraform >/dev/null 2>&1 || { echo 'docs: terraform is not on PATH' >&2; exit 1; }
export CHECKPOINT_DISABLE=1

root=$PWD
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
out=$root/docs
[ "${1:-}" != --check ] || out=$work/docs

# The schemas come from the provider's own binary, so that nothing is fetched.
CGO_ENABLED=0 go build -o "$work/terraform-provider-postern" ./provider/cmd/terraform-provider-postern
cat >"$work/terraform.rc" <<RC
provider_installation {
  dev_overrides {
    "registry.terraform.io/posternhq/postern" = "$work"
  }
  direct {}
}
RC
cat >"$work/main.tf" <<TF
terraform {
  required_providers {
    postern = { source = "posternhq/postern" }
  }
}
TF
(cd "$work" && TF_CLI_CONFIG_FILE="$work/terraform.rc" terraform providers schema -json |
	sed 's|"registry.terraform.io/posternhq/postern":|"postern":|' >schema.json)

# Its directories are all relative to the provider's.
go tool -modfile=testacc/tools/docs.mod tfplugindocs generate \
	--providers-schema "$work/schema.json" \
	--provider-dir / \
	--provider-name terraform-provider-postern \
	--rendered-provider-name Postern \
	--rendered-website-dir "$out" \
	--examples-dir "$root/examples" \
	--website-source-dir "$root/provider/templates" >"$work/log" || { cat "$work/log" >&2; exit 1; }

[ "$out" != "$root/docs" ] || exit 0
status=0
for page in index.md resources data-sources functions ephemeral-resources guides; do
	diff -ru "docs/$page" "$out/$page" || status=1
done
[ $status = 0 ] || echo 'docs: the registry pages are not up to date; run make docs' >&2
exit $status
