#!/bin/sh
# Installs Debian's SimpleSAMLphp, or says what is missing.
set -eu
if [ -d /usr/share/simplesamlphp/www ] && command -v php >/dev/null 2>&1; then
	exit 0
fi
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
	echo 'SimpleSAMLphp is missing. On Debian 12, as root: apt-get install simplesamlphp php8.2-cli php8.2-xml php8.2-mbstring php8.2-sqlite3 php8.2-curl' >&2
	exit 1
fi
apt-get update -q >&2
DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends \
	simplesamlphp php8.2-cli php8.2-xml php8.2-mbstring php8.2-sqlite3 php8.2-curl >&2
