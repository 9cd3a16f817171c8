"""Signing people in on the gateway's own pages, at the authorization server that their agents' tokens come from.

OpenID Connect, with the authorization code and PKCE, as the client that the file names. What lies between the two
halves is in a cookie, sealed: so it is known to the browser that began it and to nobody else, any node can go on with
it, and nobody can fill anything here by beginning without end.

Source: OpenID Connect Core, 3.1; OAuth 2.1, 4.1; RFC 7636; RFC 9207.
"""

import base64
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final
from urllib.parse import urlsplit

import anyio
import msgspec

from gateway.config.models.access import OAuthSettings
from gateway.errors import Unauthenticated
from gateway.logins import discovery, token_request
from gateway.logins.clients import SecretClient, secret_method
from gateway.logins.discovery import AuthorizationServer
from gateway.logins.failures import AuthFailure, Denied, Distrusted, Unreachable
from gateway.logins.flow import PENDING_SECONDS, challenge_of, code_of, with_query
from gateway.logins.web import Web
from gateway.request import Principal
from gateway.store.seal import Seal

FRESH_SECONDS: Final = 300.0
"""How long the authorization server's metadata is kept."""
RETRY_SECONDS: Final = 10.0
"""How soon it is asked again after it could not be had, whoever wants to sign in."""
_ID_DIGITS: Final = 16

Identify = Callable[[str, str, str], Awaitable[Principal]]
"""`(ID token, client id, nonce)` → whose it is; raises `Unauthenticated` if it cannot be relied on."""


class _Between(msgspec.Struct, frozen=True):
    """What lies between the halves: `flow.Awaited`."""

    state: str
    verifier: str
    nonce: str
    issuer: str
    names_issuer: bool
    began: float
    server: str
    """Where they log in then."""
    mark: str
    scope: str
    """Of the link that they came by."""


@dataclass(frozen=True, slots=True)
class Outward:
    """Where a browser goes to sign in, and the cookie that it comes back with."""

    link: str = field(repr=False)
    id: str
    """Names the cookie."""
    cookie: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class SignedIn:
    """Who came back, and what for."""

    principal: Principal
    server: str
    mark: str
    scope: str


class SignIn:
    """
    Args:
        settings: with `sign_in`.
        keys: of `state_keys`.
    """

    def __init__(self, settings: OAuthSettings, identify: Identify, keys: Sequence[str | bytes]) -> None:
        assert settings.sign_in is not None
        self._settings = settings
        self._given = settings.sign_in
        self._identify = identify
        self._seal = Seal([key if isinstance(key, str) else key.hex() for key in keys])
        parts = urlsplit(settings.issuer)
        self.name = parts.hostname or settings.issuer
        """Of the authorization server, for people."""
        private = {parts.hostname} if settings.allow_private and parts.hostname else set[str]()
        self._web = Web(private, private if parts.scheme == "http" else ())
        self._found: AuthorizationServer | AuthFailure | None = None
        self._found_at = float("-inf")
        self._turn = anyio.Lock()

    def id(self, state: str) -> str:
        """`Outward.id` of what was begun with this state."""
        return sha256(f"sign-in\0{state}".encode("utf-8", "surrogatepass")).hexdigest()[:_ID_DIGITS]

    async def begin(self, back: str, server: str, mark: str, scope: str) -> Outward:
        """
        Args:
            back: the address of `links.SIGNED_IN_PATH`.
            server: where they log in once it is known who they are.
            mark, scope: of the link that they came by.

        Raises:
            AuthFailure: nobody can sign in now.
        """
        there = await self._server()
        endpoint = there.authorization_endpoint
        if endpoint is None:
            raise Distrusted(f"{there.issuer} names no authorization endpoint")
        state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
        between = _Between(
            state, verifier, nonce, there.issuer, there.names_issuer, time.time(), server, mark, scope
        )  # fmt: skip
        query = {
            "response_type": "code",
            "client_id": self._given.client_id,
            "redirect_uri": back,
            "scope": " ".join(dict.fromkeys(["openid", *self._given.scopes])),
            "state": state,
            "nonce": nonce,
            "code_challenge": challenge_of(verifier),
            "code_challenge_method": "S256",
        }
        id = self.id(state)
        sealed = self._seal.seal(f"sign-in:{id}", msgspec.json.encode(between))
        return Outward(with_query(endpoint, query), id, base64.urlsafe_b64encode(sealed).decode())

    async def finish(self, back: str, query: Mapping[str, str], cookie: str) -> SignedIn:
        """A browser came back.

        Raises:
            Unauthenticated: it does not show who they are.
            AuthFailure: that cannot be known now.
        """
        between = self._opened(self.id(query.get("state", "")), cookie)
        if between is None:
            raise Unauthenticated("This sign-in was begun in another browser, or took too long. Open the link again.")
        there = await self._server()
        try:
            code = code_of(between, query)
            id_token = await self._exchange(there, back, code, between.verifier)
        except (Denied, Distrusted) as failure:
            text = str(failure)
            raise Unauthenticated(f"You are not signed in: {text}.") from None
        principal = await self._identify(id_token, self._given.client_id, between.nonce)
        return SignedIn(principal, between.server, between.mark, between.scope)

    # --- Inside -----------------------------------------------------------------------------------------------------

    def _opened(self, id: str, cookie: str) -> _Between | None:
        try:
            sealed = base64.urlsafe_b64decode(cookie)
        except ValueError:
            return None
        opened = self._seal.open(f"sign-in:{id}", sealed)
        if opened is None:
            return None
        between = msgspec.json.decode(opened, type=_Between)
        return between if time.time() - between.began <= PENDING_SECONDS else None

    async def _exchange(self, there: AuthorizationServer, back: str, code: str, verifier: str) -> str:
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": back, "code_verifier": verifier}
        secret = self._given.client_secret
        client = SecretClient(self._given.client_id, secret, secret_method(secret, there.auth_methods))
        granted = await token_request.request(self._web, there.token_endpoint, there.issuer, form, client)
        token = granted.fields.get("id_token")
        if not isinstance(token, str):
            raise Distrusted("the authorization server gave no ID token; `openid` must be among the client's scopes")
        return token

    async def _server(self) -> AuthorizationServer:
        """By one at a time, and not again at once where it fails: whoever wants to sign in is nobody yet."""
        async with self._turn:
            age = time.monotonic() - self._found_at
            is_known = isinstance(self._found, AuthorizationServer) and age < FRESH_SECONDS
            if not is_known and not (isinstance(self._found, AuthFailure) and age < RETRY_SECONDS):
                self._found = await self._ask()
                self._found_at = time.monotonic()
        if isinstance(self._found, AuthorizationServer):
            return self._found
        raise Unreachable(str(self._found))

    async def _ask(self) -> AuthorizationServer | AuthFailure:
        try:
            there = await discovery.of_issuer(self._web, self._settings.issuer)
        except AuthFailure as failure:
            return failure
        if there is None:
            return Distrusted(f"{self._settings.issuer} has no metadata")
        if there.challenge_methods is not None and "S256" not in there.challenge_methods:
            return Distrusted(f"{there.issuer} does not protect codes with S256 (PKCE)")
        return there
