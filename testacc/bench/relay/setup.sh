#!/bin/sh
# Installs what Postern is measured beside, or says precisely what is missing.
set -eu

need=
[ -x /usr/sbin/pgbouncer ] || command -v pgbouncer >/dev/null 2>&1 || need="$need pgbouncer"
[ -x /usr/sbin/haproxy ] || command -v haproxy >/dev/null 2>&1 || need="$need haproxy"
command -v pgbench >/dev/null 2>&1 || need="$need postgresql-contrib"
[ -n "$need" ] || exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
	printf 'setup: installing%s with apt-get\n' "$need" >&2
	apt-get update -q >&2
	# shellcheck disable=SC2086 # a list
	DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $need >&2
else
	printf 'setup: missing:%s. On Debian, as root: apt-get install%s\n' "$need" "$need" >&2
	exit 1
fi
