#!/bin/sh
# Installs what the demo and the tests need, or says precisely what is missing.
set -eu

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

if ! command -v terraform >/dev/null 2>&1; then
	say 'Terraform 1.8 or newer is missing. Install it as https://developer.hashicorp.com/terraform/install says, and put it on PATH.'
	missing=1
fi

if ! command -v gcc >/dev/null 2>&1; then
	say 'gcc is missing (the SQL parser is C). On Debian, as root: apt-get install gcc'
	missing=1
fi

exit "$missing"
