// A real authorization server for the tests: oidc-provider with resource indicators (RFC 8707), JWT access tokens, PKCE,
// dynamic client registration, clients that are known by a document (CIMD), and people who log in and consent by
// themselves; or, with `pages`, on the pages that it comes with. `GET /events` says what it did.
//
// node authorization_server.mjs PORT MODULES [pages]
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

const [port, modules, pages] = process.argv.slice(2);
const entry = createRequire(`${modules}/`).resolve('oidc-provider');
const { Provider } = await import(pathToFileURL(entry));

const issuer = `http://127.0.0.1:${port}`;
const SCOPES = 'read write admin';
// A client that need not register, and may ask for every scope.
const CONSOLE = { client_id: 'console', redirect_uris: ['http://127.0.0.1:9/callback'], token_endpoint_auth_method: 'none' };
// One with a secret, that logs people in for others (`PROXY`: where it is reached).
const PROXY = {
  client_id: 'proxy',
  client_secret: 'a secret between the proxy and this server',
  redirect_uris: [`${process.env.PROXY ?? 'http://127.0.0.1:9'}/auth/callback`],
  grant_types: ['authorization_code', 'refresh_token'],
};
// Who there is, and what each grants to whatever client asks; `login_hint` says who is at the keyboard. A token of
// somebody `lateBy` some seconds expired that long before it was issued.
const PEOPLE = {
  alice: { scopes: ['read', 'write'], email: 'alice@example.com', groups: ['engineering'] },
  bob: { scopes: ['read'], email: 'bob@example.com', groups: [] },
  root: { scopes: ['read', 'write', 'admin'], email: 'root@example.com', groups: ['operations'] },
  late: { scopes: ['read', 'write'], email: 'late@example.com', groups: [], lateBy: 3600 },
};

const key = (type, options, alg) => ({
  ...generateKeyPairSync(type, options).privateKey.export({ format: 'jwk' }),
  kid: alg.toLowerCase(),
  use: 'sig',
  alg,
});

const provider = new Provider(issuer, {
  jwks: { keys: [key('rsa', { modulusLength: 2048 }, 'RS256'), key('ec', { namedCurve: 'P-256' }, 'ES256')] },
  clients: [CONSOLE, PROXY],
  cookies: { keys: [randomBytes(32).toString('hex')] },
  // All of these tests are on one machine, where it does not go of its own accord.
  fetch: (url, { dispatcher, ...options }) => fetch(url, options),
  pkce: { required: () => true },
  clientAuthMethods: ['none', 'client_secret_basic', 'client_secret_post'],
  scopes: ['openid', ...SCOPES.split(' ')],
  responseTypes: ['code'],
  ttl: { AccessToken: 600, AuthorizationCode: 60, Grant: 3600, Interaction: 600, RefreshToken: 3600, Session: 3600 },
  issueRefreshToken: (ctx, client) => client.grantTypeAllowed('refresh_token'),
  rotateRefreshToken: true,
  features: {
    devInteractions: { enabled: pages === 'pages' },
    clientIdMetadataDocument: { enabled: true, ack: 'draft-02' },
    registration: { enabled: true },
    revocation: { enabled: true },
    resourceIndicators: {
      enabled: true,
      useGrantedResource: () => true,
      getResourceServerInfo: (ctx, resource) => ({
        scope: SCOPES,
        audience: resource,
        accessTokenFormat: 'jwt',
        jwt: { sign: { alg: 'ES256' } },
      }),
    },
  },
  formats: {
    customizers: {
      jwt: (ctx, token, { payload }) => {
        const { lateBy } = PEOPLE[token.accountId];
        if (lateBy) payload.exp = payload.iat - lateBy;
      },
    },
  },
  findAccount: (ctx, sub) => PEOPLE[sub] && { accountId: sub, claims: () => ({ sub }) },
  extraTokenClaims: (ctx, token) => {
    const { email, groups } = PEOPLE[token.accountId];
    return { email, groups };
  },
  loadExistingGrant: pages ? undefined : async (ctx) => {
    const { client, session, params } = ctx.oidc;
    const grant = new ctx.oidc.provider.Grant({ clientId: client.clientId, accountId: session.accountId });
    const { scopes } = PEOPLE[session.accountId];
    const refused = SCOPES.split(' ').filter((scope) => !scopes.includes(scope));
    // To the provider these are its own scopes, too, or clients could not register with them.
    grant.addOIDCScope(['openid', ...scopes].join(' '));
    grant.rejectOIDCScope(refused.join(' '));
    for (const resource of [params.resource ?? []].flat()) {
      grant.addResourceScope(resource, scopes.join(' '));
      if (refused.length) grant.rejectResourceScope(resource, refused.join(' '));
    }
    await grant.save();
    return grant;
  },
});

// The login page logs in whoever the client says is there, and takes a click on `allow` for granted.
const handle = provider.callback();
const events = [];
for (const name of [
  'registration_create.success',
  'authorization_code.consumed',
  'refresh_token.saved',
  'refresh_token.consumed',
  'refresh_token.destroyed',
  'grant.revoked',
]) {
  provider.on(name, () => events.push(name));
}
createServer(async (request, response) => {
  if (request.url === '/events') return response.end(JSON.stringify(events));
  if (pages || !request.url.startsWith('/interaction/')) return handle(request, response);
  const { params } = await provider.interactionDetails(request, response);
  const login = { accountId: params.login_hint ?? 'alice' };
  return provider.interactionFinished(request, response, { login, consent: {} }, { mergeWithLastSubmission: false });
}).listen(Number(port), '127.0.0.1');
