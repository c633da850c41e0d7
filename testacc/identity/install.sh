#!/bin/sh
# Installs the real issuer of the tests, as package-lock.json pins it, into the
# ignored directory bin/identity.
set -eu
cd "$(dirname "$0")/../.."
if cmp -s testacc/identity/package-lock.json bin/identity/installed-lock.json; then
	exit 0
fi
rm -rf bin/identity
mkdir -p bin/identity
cp testacc/identity/package.json testacc/identity/package-lock.json bin/identity/
(cd bin/identity && npm ci --ignore-scripts --no-audit --no-fund >&2)
cp testacc/identity/package-lock.json bin/identity/installed-lock.json
