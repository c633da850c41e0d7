// A real OpenID Connect issuer for the tests. It listens on a free port of
// 127.0.0.1 and prints its URL. Whoever signs in is who login_hint says, else ana
// or who the command "user SUB" said. Each line on standard input is a command,
// answered by one line: "rotate" makes a key that signs from now on, "remove"
// withdraws all others, "fetches" prints how often the keys were read, "refuse
// CODE" refuses a device, and "logout SUB SID" sends a logout token to the
// address that was given.
//
//   node issuer.mjs DIRECTORY-WITH-NODE_MODULES [LOGOUT-ADDRESS]
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { generateKeyPairSync, randomUUID } from 'node:crypto';
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';
import { join } from 'node:path';

const require = createRequire(join(process.argv[2], 'package.json'));
const { default: Provider } = await import(pathToFileURL(require.resolve('oidc-provider')));

const newKey = () => {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return { ...privateKey.export({ format: 'jwk' }), kid: randomUUID(), use: 'sig', alg: 'ES256' };
};

let keys = [newKey()];
let fetches = 0;
let user = 'ana';
let provider;
const server = createServer((req, res) => handle(req, res));
await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
const url = `http://127.0.0.1:${server.address().port}`;

// start makes the provider anew with the present keys, as a restart with
// another configuration would.
function start() {
  provider = new Provider(url, {
    jwks: { keys },
    clients: [{
      client_id: 'postern', application_type: 'native', token_endpoint_auth_method: 'none', id_token_signed_response_alg: 'ES256',
      redirect_uris: ['http://127.0.0.1/callback'], response_types: ['code'], grant_types: ['authorization_code', 'refresh_token', 'urn:ietf:params:oauth:grant-type:device_code'],
      backchannel_logout_uri: process.argv[3], backchannel_logout_session_required: process.argv[3] ? true : undefined,
    }],
    cookies: { keys: ['tests'] },
    // The library keeps from calling this machine, where the tests are.
    fetch: (address, { dispatcher: _, ...options }) => fetch(address, options),
    findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
    features: { devInteractions: { enabled: false }, backchannelLogout: { enabled: true }, deviceFlow: { enabled: true } },
    interactions: { url: (_, interaction) => `/interaction/${interaction.uid}` },
    issueRefreshToken: () => true,
    pkce: { required: () => true },
    ttl: { IdToken: 3 * 3600, AccessToken: 600, Grant: 3600, Interaction: 600, Session: 600, RefreshToken: 3600 },
  });
}

async function interact(req, res) {
  const { prompt, params, session } = await provider.interactionDetails(req, res);
  let result = { login: { accountId: params.login_hint || user } };
  if (prompt.name === 'consent') {
    const grant = new provider.Grant({ accountId: session.accountId, clientId: params.client_id });
    grant.addOIDCScope('openid offline_access');
    result = { consent: { grantId: await grant.save() } };
  }
  await provider.interactionFinished(req, res, result, { mergeWithLastSubmission: true });
}

function handle(req, res) {
  if (req.url === '/jwks') fetches += 1;
  if (!req.url.startsWith('/interaction/')) {
    provider.callback()(req, res);
    return;
  }
  interact(req, res).catch((err) => {
    res.statusCode = 500;
    res.end(String(err));
  });
}

start();
console.log(url);
createInterface({ input: process.stdin }).on('line', async (line) => {
  const [command, sub, sid] = line.split(' ');
  if (command === 'logout') {
    const client = await provider.Client.find('postern');
    await client.backchannelLogout(sub, sid).then(() => console.log('done'), (err) => console.log(`http failed: ${err}`));
    return;
  }
  if (command === 'refuse') {
    const code = await provider.DeviceCode.findByUserCode(sub.replaceAll('-', ''));
    code.error = 'access_denied';
    await code.save();
  }
  if (command === 'user') user = sub;
  if (command === 'rotate') keys = [newKey(), ...keys];
  if (command === 'remove') keys = keys.slice(0, 1);
  if (command === 'rotate' || command === 'remove') start();
  console.log(command === 'fetches' ? fetches : 'done');
}).on('close', () => process.exit(0));
