// A real SAML identity provider for the tests. It listens on a free port of
// 127.0.0.1 and prints its URL; its metadata is at /metadata. Whoever signs in is
// who the last line on standard input said: a name, and groups, separated by
// spaces. It prints "done" for each line.
//
//   node saml.mjs DIRECTORY-WITH-NODE_MODULES CERTIFICATE KEY ACS AUDIENCE
import { createRequire } from 'node:module';
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { join } from 'node:path';

const [directory, certificate, privateKey, acs, audience] = process.argv.slice(2);
const require = createRequire(join(directory, 'package.json'));
const express = require('express');
const samlp = require('samlp');

const cert = readFileSync(certificate);
const key = readFileSync(privateKey);
let user = { name: 'nobody', groups: [] };

// Mapper says of somebody what a directory would.
function Mapper(who) {
  return {
    getClaims: () => ({ uid: who.name, groups: who.groups }),
    getNameIdentifier: () => ({
      nameIdentifier: `id-of-${who.name}`,
      nameIdentifierFormat: 'urn:oasis:names:tc:SAML:2.0:nameid-format:persistent',
    }),
  };
}
Mapper.prototype.metadata = [];

const app = express();
const server = app.listen(0, '127.0.0.1', () => {
  const url = `http://127.0.0.1:${server.address().port}`;
  const issuer = `${url}/metadata`;
  app.get('/metadata', samlp.metadata({ issuer, cert, profileMapper: Mapper, redirectEndpointPath: '/sso', postEndpointPath: '/sso' }));
  app.get('/sso', (req, res, next) => samlp.auth({
    issuer, cert, key, audience, recipient: acs, destination: acs, sessionIndex: '_session', lifetimeInSeconds: 60,
    signatureAlgorithm: 'rsa-sha256', digestAlgorithm: 'sha256', profileMapper: Mapper,
    getUserFromRequest: () => user,
    getPostURL: (_audience, _request, _req, callback) => callback(null, acs),
  })(req, res, next));
  console.log(url);
});

createInterface({ input: process.stdin }).on('line', (line) => {
  const [name, ...groups] = line.split(' ');
  user = { name, groups };
  console.log('done');
}).on('close', () => process.exit(0));
