#!/bin/sh
# Runs Debian's SimpleSAMLphp as a SAML identity provider on 127.0.0.1 in the
# foreground, configured in an empty directory. Its metadata is at
# /saml2/idp/metadata.php. Whoever comes is signed in as ana, in the groups dba
# and oncall.
#
#   simplesamlphp.sh DIRECTORY PORT CERTIFICATE KEY ACS AUDIENCE
set -eu
dir=$1 port=$2 certificate=$3 key=$4 acs=$5 audience=$6
mkdir -p "$dir/metadata" "$dir/certs" "$dir/data" "$dir/log" "$dir/tmp" "$dir/sessions"
cp "$certificate" "$dir/certs/idp.crt"
cp "$key" "$dir/certs/idp.key"

cat >"$dir/config.php" <<PHP
<?php
\$config = [
    'baseurlpath' => 'http://127.0.0.1:$port/', 'certdir' => '$dir/certs/', 'loggingdir' => '$dir/log/', 'datadir' => '$dir/data/',
    'tempdir' => '$dir/tmp', 'metadatadir' => '$dir/metadata/', 'attributenamemapdir' => '/usr/share/simplesamlphp/attributemap/',
    'technicalcontact_name' => 'tests', 'technicalcontact_email' => 'na@example.org', 'timezone' => 'UTC', 'secretsalt' => 'tests alone',
    'auth.adminpassword' => 'tests alone', 'logging.level' => SimpleSAML\Logger::WARNING, 'logging.handler' => 'file', 'logging.logfile' => 'idp.log',
    'debug' => null, 'showerrors' => true, 'errorreporting' => false, 'proxy' => null, 'trusted.url.domains' => [], 'admin.checkforupdates' => false,
    'enable.saml20-idp' => true, 'module.enable' => ['exampleauth' => true, 'core' => true, 'saml' => true],
    'session.duration' => 3600, 'session.datastore.timeout' => 3600, 'session.state.timeout' => 600, 'session.cookie.name' => 'idp',
    'session.cookie.lifetime' => 0, 'session.cookie.path' => '/', 'session.cookie.domain' => null, 'session.cookie.secure' => false,
    'session.phpsession.cookiename' => 'idp', 'session.phpsession.savepath' => '$dir/sessions', 'session.phpsession.httponly' => true,
    'session.authtoken.cookiename' => 'idp-token', 'session.rememberme.enable' => false, 'session.rememberme.checked' => false,
    'store.type' => 'phpsession', 'language.available' => ['en'], 'language.default' => 'en', 'theme.use' => 'default', 'metadata.sources' => [['type' => 'flatfile']],
    'production' => true, 'authproc.idp' => [], 'authproc.sp' => [],
];
PHP
cat >"$dir/authsources.php" <<'PHP'
<?php
$config = ['people' => ['exampleauth:StaticSource', 'uid' => ['ana'], 'groups' => ['dba', 'oncall']]];
PHP
cat >"$dir/metadata/saml20-idp-hosted.php" <<PHP
<?php
\$metadata['http://127.0.0.1:$port/saml2/idp/metadata.php'] = [
    'host' => '__DEFAULT__', 'privatekey' => 'idp.key', 'certificate' => 'idp.crt', 'auth' => 'people',
    'authproc' => [3 => ['class' => 'saml:AttributeNameID', 'attribute' => 'uid', 'Format' => 'urn:oasis:names:tc:SAML:2.0:nameid-format:persistent']],
];
PHP
cat >"$dir/metadata/saml20-sp-remote.php" <<PHP
<?php
\$metadata['$audience'] = [
    'AssertionConsumerService' => '$acs', 'NameIDFormat' => 'urn:oasis:names:tc:SAML:2.0:nameid-format:persistent',
];
PHP
export SIMPLESAMLPHP_CONFIG_DIR="$dir"
exec php -S "127.0.0.1:$port" -t /usr/share/simplesamlphp/www >"$dir/log/php.log" 2>&1
