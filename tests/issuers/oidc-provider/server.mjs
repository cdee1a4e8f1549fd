// panva's oidc-provider on loopback, for ../test_real_issuers.py: node server.mjs DIRECTORY
//
// DIRECTORY holds what the test writes: server.pem, server.key and ca.pem (TLS), and clients.json, the registered
// clients, which is read at each request, so that a test can change a client while the server runs. `require_nonce`
// lists the clients whose DPoP proofs need a nonce.
//
// There are two listeners: only the second one asks for client certificates, so a client that authenticates with one
// must follow `mtls_endpoint_aliases`. One JSON line on standard output says where they are.
//
// `/api` stands for an API that wants a token: it answers with what the token says, after checking the DPoP proof.

import { createHash, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:https';
import { join } from 'node:path';

import { EmbeddedJWK, calculateJwkThumbprint, createLocalJWKSet, exportJWK, generateKeyPair, jwtVerify } from 'jose';
import Provider from 'oidc-provider';
import MemoryAdapter from 'oidc-provider/lib/adapters/memory_adapter.js';

// The provider's own hints; standard output is for one line, and its reader may go away.
console.info = console.error;

const [directory] = process.argv.slice(2);
const read = (name) => readFileSync(join(directory, name));
const settings = () => JSON.parse(read('clients.json'));

const tls = { cert: read('server.pem'), key: read('server.key') };
const plain = await listen({ ...tls });
const mutual = await listen({ ...tls, ca: read('ca.pem'), requestCert: true, rejectUnauthorized: false });

const signingKey = { ...await exportJWK((await generateKeyPair('RS256', { extractable: true })).privateKey), alg: 'RS256', kid: 'signing' };
const provider = new Provider(plain.url, {
  adapter,
  clientAuthMethods: [
    'client_secret_basic', 'client_secret_jwt', 'client_secret_post', 'none', 'private_key_jwt',
    'self_signed_tls_client_auth', 'tls_client_auth',
  ],
  // An assertion that is issued in the future is noticed.
  clockTolerance: 0,
  discovery: {
    mtls_endpoint_aliases: {
      token_endpoint: `${mutual.url}/token`,
      revocation_endpoint: `${mutual.url}/token/revocation`,
      introspection_endpoint: `${mutual.url}/token/introspection`,
    },
  },
  enabledJWA: {
    clientAuthSigningAlgValues: [
      'HS256', 'HS384', 'HS512', 'RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA',
    ],
  },
  features: {
    clientCredentials: { enabled: true },
    devInteractions: { enabled: false },
    dPoP: {
      enabled: true,
      nonceSecret: randomBytes(32),
      requireNonce: (ctx) => (settings().require_nonce ?? []).includes(ctx.oidc.client?.clientId),
    },
    introspection: { enabled: true },
    mTLS: {
      enabled: true,
      certificateBoundAccessTokens: true,
      selfSignedTlsClientAuth: true,
      tlsClientAuth: true,
      getCertificate: (ctx) => ctx.socket.getPeerX509Certificate(),
      certificateAuthorized: (ctx) => ctx.socket.authorized,
      certificateSubjectMatches: (ctx, property, expected) => property === 'tls_client_auth_san_dns'
        && ctx.socket.getPeerX509Certificate().subjectAltName.split(', ').includes(`DNS:${expected}`),
    },
    resourceIndicators: {
      enabled: true,
      getResourceServerInfo: (_, resource) => ({ scope: 'read write', audience: resource, accessTokenFormat: 'jwt' }),
    },
    revocation: { enabled: true },
  },
  jwks: { keys: [signingKey] },
  scopes: ['read', 'write'],
  ttl: { ClientCredentials: 60 },
});
provider.use(api);
for (const event of ['grant.error', 'introspection.error', 'revocation.error', 'server_error']) {
  provider.on(event, (ctx, error) => console.error(event, ctx.oidc?.client?.clientId, error.error, error.error_detail ?? error));
}
plain.server.on('request', provider.callback());
mutual.server.on('request', provider.callback());
console.log(JSON.stringify({ issuer: plain.url, mutual: mutual.url }));

async function listen(options) {
  const server = createServer(options);
  await new Promise((resolve) => { server.listen(0, '127.0.0.1', resolve); });
  return { server, url: `https://127.0.0.1:${server.address().port}` };
}

// Everything in memory, but the clients as the test last wrote them.
function adapter(model) {
  const inMemory = new MemoryAdapter(model);
  if (model === 'Client') {
    inMemory.find = async (id) => settings().clients.find((client) => client.client_id === id);
  }
  return inMemory;
}

async function api(ctx, next) {
  if (ctx.path !== '/api') {
    await next();
    return;
  }
  try {
    const [scheme, token] = ctx.get('authorization').split(' ');
    const claims = token.includes('.') ? await fromJwt(token) : await fromMemory(token);
    if (claims.jkt || scheme !== 'Bearer') {
      await checkProof(ctx, scheme, token, claims.jkt);
    }
    ctx.body = claims;
  } catch (error) {
    ctx.status = 401;
    ctx.body = { error: String(error) };
  }
}

async function fromJwt(token) {
  const { kty, n, e, kid } = signingKey;
  const { payload } = await jwtVerify(token, createLocalJWKSet({ keys: [{ kty, n, e, kid }] }), { issuer: plain.url });
  return { client_id: payload.client_id, audience: payload.aud, scope: payload.scope, jkt: payload.cnf?.jkt };
}

async function fromMemory(token) {
  const found = await provider.ClientCredentials.find(token);
  if (!found?.isValid) {
    throw new Error('no such token');
  }
  return { client_id: found.clientId, audience: found.aud, scope: found.scope, jkt: found.jkt };
}

// What RFC 9449 has an API check.
async function checkProof(ctx, scheme, token, jkt) {
  const { payload, protectedHeader } = await jwtVerify(ctx.get('dpop'), EmbeddedJWK, { typ: 'dpop+jwt', maxTokenAge: 60 });
  const wrong = Object.entries({
    scheme: scheme === 'DPoP',
    key: await calculateJwkThumbprint(protectedHeader.jwk) === jkt,
    htm: payload.htm === ctx.method,
    htu: payload.htu === `${plain.url}/api`,
    ath: payload.ath === createHash('sha256').update(token).digest('base64url'),
    jti: typeof payload.jti === 'string',
  }).filter(([, right]) => !right).map(([name]) => name);
  if (wrong.length > 0) {
    throw new Error(`the proof's ${wrong} are wrong`);
  }
}
