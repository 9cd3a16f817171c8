"""Logging in at servers that want it: the client side of MCP authorization.

Upstreams know `gateway.upstream.credentials` and nothing of this. What is here, from the outside in:

- `logins`: `Logins`, one for the gateway. For each server a `Source` (whose credentials to use), from its `auth`.
- `held`: what the connections of one principal to one server prove themselves with: tokens at hand, renewed ahead of
  their end and when they are refused, by one at a time.
- `grants`: the interface `Grant`: how tokens are had without anybody being asked anything. `Held` needs no more, so a
  new way to tokens is a new `Grant`, and a line in `logins.grant_for`:
  - `machines*`: the gateway's own credential (`machines`), and tokens for who asks or for this process
    (`machines_exchange`, `machines_bearer`). `machines_of` makes the one that a server's `auth` asks for, for one
    principal; on whose behalf that is (`subjects`), `access` has noted.
  - `person`: a login that somebody made (the refresh token of it).
- `flow`: a login from its beginning to its end, in two halves between which somebody was in a browser: `begin` gives a
  link, `complete` takes what came back. The CLI drives it with a loopback listener, `connecting` for principals in a
  browser (`links` to the pages of `rest.connect`).
  What a call does that meets `LoginNeeded` is in `bridge.login_requests`; the tool `SERVER__login` and the lists of
  each are in `upstream.personal`.
- `vault`: what must outlive a restart, sealed.
- `discovery`, `challenge`, `registration`, `token_request`: the protocol, over `web`, by which alone anything goes out.
"""
