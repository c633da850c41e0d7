#!/bin/sh
# Installs the client libraries of the conformance tests and builds its Go
# programs into bin/conformance, or says precisely what is missing.
set -eu
cd "$(dirname "$0")/../.."

missing=0
say() { printf 'conformance: %s\n' "$*" >&2; }

packages=''
/usr/bin/python3 -c 'import psycopg2' 2>/dev/null || packages="$packages python3-psycopg2"
/usr/bin/python3 -c 'import psycopg' 2>/dev/null || packages="$packages python3-psycopg"
/usr/bin/python3 -c 'import sqlalchemy' 2>/dev/null || packages="$packages python3-sqlalchemy"
[ -e /usr/share/java/postgresql.jar ] || packages="$packages libpostgresql-jdbc-java"
command -v javac >/dev/null 2>&1 || packages="$packages default-jdk-headless"
command -v npm >/dev/null 2>&1 || packages="$packages npm"
if [ -n "$packages" ]; then
	if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
		say "installing$packages with apt-get"
		apt-get update -q >&2
		# shellcheck disable=SC2086 # words are meant
		DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $packages >&2
	else
		say "clients are missing. On Debian, as root: apt-get install$packages"
		missing=1
	fi
fi

node=testacc/conformance/node
if ! cmp -s "$node/package-lock.json" "$node/node_modules/.installed-lock.json"; then
	if command -v npm >/dev/null 2>&1 && (cd "$node" && npm ci --ignore-scripts --no-audit --no-fund >&2); then
		cp "$node/package-lock.json" "$node/node_modules/.installed-lock.json"
	else
		say "the Node clients could not be installed as $node/package-lock.json pins them"
		missing=1
	fi
fi

if ! (mkdir -p bin/conformance && cd testacc/conformance/go && go build -o ../../../bin/conformance/ ./pgx ./libpq); then
	say 'the Go clients could not be built'
	missing=1
fi

exit "$missing"
