"""A login by a person, in two halves between which they are in a browser: `begin` gives a link, `complete` takes what
comes back. Whoever calls them keeps what lies between, and decides who may come back with it.

Source: 2026-07-28 and 2025-11-25, basic/authorization; OAuth 2.1, 4.1; RFC 7636 (PKCE); RFC 8707; RFC 9207.
"""

import base64
import hashlib
import json
import secrets
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol
from urllib.parse import urlencode

import msgspec

from gateway.config.models.auth import AuthConfig
from gateway.harmless import clipped, harmless
from gateway.logins import discovery, kept_client, registration, token_request
from gateway.logins.challenge import MAX_SCOPES, Wanted, wanted
from gateway.logins.client_origin import REFUSED, current, explained, origin_of
from gateway.logins.discovery import AuthorizationServer, Resource
from gateway.logins.document import is_page
from gateway.logins.failures import Denied, Distrusted, Unreachable
from gateway.logins.record import Login, LoginKey, RegisteredClient
from gateway.logins.timing import USUAL, LoginTiming
from gateway.logins.vault import Vault
from gateway.logins.web import Web

PENDING_SECONDS: Final = 600.0
"""How long a login may lie between its halves."""


class PendingLogin(msgspec.Struct, frozen=True, kw_only=True):
    """A login between its halves. It is a secret, and is used once."""

    state: str
    verifier: str
    principal: str
    owner: str
    server: str
    url: str
    issuer: str
    names_issuer: bool
    resource: str
    token_endpoint: str
    revocation_endpoint: str | None
    registered: RegisteredClient
    redirect_uri: str
    asked: list[str]
    began: float

    def __repr__(self) -> str:
        return f"Pending({self.server!r})"


@dataclass(frozen=True, slots=True)
class Begun:
    """A login that somebody is to go on with."""

    link: str
    """At the authorization server. Only for who asked for it."""
    pending: PendingLogin = field(repr=False)


@dataclass(frozen=True, slots=True)
class Place:
    """What is known of a server where somebody wants to log in."""

    resource: Resource
    server: AuthorizationServer
    scopes: tuple[str, ...]
    """Those that its challenge asked for."""


class Flow:
    """
    Args:
        public_url: `gateway.public_url`.
    """

    def __init__(self, vault: Vault, public_url: str | None, timing: LoginTiming = USUAL) -> None:
        self._vault = vault
        self._public_url = public_url
        self._timing = timing

    async def begin(
        self,
        key: LoginKey,
        owner: str,
        auth: AuthConfig,
        redirect_uri: str,
        *,
        scopes: Collection[str] = (),
        header: str | None = None,
    ) -> Begun:
        """
        Args:
            owner: who logs in, in words.
            redirect_uri: where the browser comes back to.
            scopes: what is to be granted besides what the server and the file ask for.
            header: the `WWW-Authenticate` of the server, if it is known.

        Raises:
            AuthFailure: it cannot be begun.
        """
        web = web_for(key.url, auth)
        place = await look(web, key.url, auth.issuer, header)
        before = await self._vault.get(key)
        _check_unmoved(before, place.server)
        asked = _scopes(place, auth, [*(before.asked if before is not None else ()), *scopes])
        registered = await self._client(web, place.server, auth, redirect_uri, asked)
        verifier, state = secrets.token_urlsafe(64), secrets.token_urlsafe(32)
        query = {
            "response_type": "code",
            "client_id": registered.id,
            "redirect_uri": redirect_uri,
            "state": state,
            "code_challenge": challenge_of(verifier),
            "code_challenge_method": "S256",
            "resource": place.resource.identifier,
        }
        if place.server.is_assumed or not place.resource.issuers:
            del query["resource"]  # 2025-03-26 knows no such parameter
        if asked:
            query["scope"] = " ".join(asked)
        if "offline_access" in asked:
            query["prompt"] = "consent"  # OpenID Connect Core, 11
        endpoint = place.server.authorization_endpoint
        if endpoint is None:
            raise Distrusted(f"{place.server.issuer} names no authorization endpoint")
        pending = PendingLogin(
            state=state,
            verifier=verifier,
            principal=key.principal,
            owner=owner,
            server=key.server,
            url=key.url,
            issuer=place.server.issuer,
            names_issuer=place.server.names_issuer,
            resource=query.get("resource", ""),
            token_endpoint=place.server.token_endpoint,
            revocation_endpoint=place.server.revocation_endpoint,
            registered=registered,
            redirect_uri=redirect_uri,
            asked=asked,
            began=time.time(),
        )
        return Begun(with_query(endpoint, query), pending)

    async def complete(self, pending: PendingLogin, query: Mapping[str, str], auth: AuthConfig) -> Login:
        """
        Args:
            auth: the server's.
            query: the parameters that the browser came back with.

        Raises:
            AuthFailure: it did not end well; nothing was changed.
        """
        try:
            code = code_of(pending, query)
        except Denied as denial:
            if origin_of(pending.registered, auth) == "registered":
                raise  # a browser's word is not enough to register anew
            raise explained(denial, pending.registered, pending.server, auth) from None
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": pending.redirect_uri,
            "code_verifier": pending.verifier,
        }
        if pending.resource:
            form["resource"] = pending.resource
        asked = " ".join(pending.asked)
        web = web_for(pending.url, auth)
        client = current(pending.registered, auth).client
        try:
            granted = await token_request.request(web, pending.token_endpoint, pending.issuer, form, client, asked)
        except Denied as denial:
            if denial.code in REFUSED:
                await kept_client.forget(self._vault, pending.issuer, pending.redirect_uri, pending.registered)
            raise explained(denial, pending.registered, pending.server, auth) from None
        login = Login(
            principal=pending.principal,
            owner=pending.owner,
            server=pending.server,
            url=pending.url,
            issuer=pending.issuer,
            resource=pending.resource,
            token_endpoint=pending.token_endpoint,
            revocation_endpoint=pending.revocation_endpoint,
            registered=pending.registered,
            redirect_uri=pending.redirect_uri,
            asked=pending.asked,
            made=time.time(),
        ).with_tokens(granted.tokens, granted.refresh)
        async with self._vault.turn(login.key.name):
            await self._vault.put(login)
        return login

    async def _client(
        self, web: Web, server: AuthorizationServer, auth: AuthConfig, redirect_uri: str, asked: list[str]
    ) -> RegisteredClient:
        known = registration.known_before(server, auth.client_id, auth.client_secret, self._public_url, redirect_uri)
        if known is not None:
            return known
        if not is_page(redirect_uri):
            return await registration.register(web, server, redirect_uri, asked)  # with a port that is free this time
        try:
            return await kept_client.kept(self._vault, web, server, redirect_uri, asked, self._timing)
        except TimeoutError:
            raise Unreachable("somebody else has been registering the gateway there for too long") from None


def challenge_of(verifier: str) -> str:
    """S256 (RFC 7636, 4.2)."""
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")


def with_query(endpoint: str, query: Mapping[str, str]) -> str:
    """The endpoint may have a query of its own (RFC 6749, 3.1)."""
    return f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(query)}"


def web_for(url: str, auth: AuthConfig) -> Web:
    """The way out for a server's logins: to what the file names, and to public hosts. What metadata names is no more
    trusted for having been written down."""
    return Web.for_urls([each for each in (url, auth.issuer) if each])


async def look(web: Web, url: str, issuer: str | None, header: str | None = None) -> Place:
    """Find out where to log in at a server.

    Args:
        issuer: the one to accept, if the file names one.
        header: its `WWW-Authenticate`, if that is known; else it is asked.

    Raises:
        Denied: it wants no login.
        Distrusted, Unreachable: as they say.
    """
    asks = wanted(header) if header is not None else await ask(web, url)
    found = await discovery.resource(web, url, asks)
    server = await discovery.authorization_server(web, found, url, issuer)
    if server.challenge_methods is not None and "S256" not in server.challenge_methods:
        raise Distrusted(f"{server.issuer} does not protect codes with S256 (PKCE)")
    return Place(found, server, asks.scopes)


async def ask(web: Web, url: str) -> Wanted:
    """What a server says to who comes without a token.

    Raises:
        Denied: it lets everybody in.
        Unreachable, Distrusted: there is no answer.
    """
    message = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
    headers = {"content-type": "application/json", "accept": "application/json, text/event-stream"}
    answer = await web.post(url, json.dumps(message).encode(), headers)
    if answer.status in (401, 403):
        return wanted(answer.challenge)
    return Wanted()


def _check_unmoved(before: Login | None, server: AuthorizationServer) -> None:
    if before is not None and not before.lost and not discovery.is_same_issuer(before.issuer, server.issuer):
        raise Distrusted(
            f"its authorization server is {clipped(server.issuer)} by now; the login there is was made at "
            f"{clipped(before.issuer)}. If that is right, log out first"
        )


def _scopes(place: Place, auth: AuthConfig, more: Collection[str]) -> list[str]:
    """What to ask for: what the server's challenge says, else what it knows of, and what the file and whoever asks
    want besides."""
    asked = [*(place.scopes or place.resource.scopes or ()), *auth.scopes, *more]
    if asked and "offline_access" in (place.server.scopes or ()):
        asked.append("offline_access")  # SEP-2207: or there would be no refresh token
    return list(dict.fromkeys(asked))[:MAX_SCOPES]


class Awaited(Protocol):
    """What a browser is to come back with."""

    @property
    def state(self) -> str: ...
    @property
    def issuer(self) -> str: ...
    @property
    def names_issuer(self) -> bool:
        """Whether the answer says who gives it (RFC 9207)."""
        ...

    @property
    def began(self) -> float:
        """When it left, in seconds since 1970."""
        ...


def code_of(pending: Awaited, query: Mapping[str, str]) -> str:
    """The code that came back, if it came from where the login was begun, and for that.

    Raises:
        Distrusted: it did not.
        Denied: there is none.
    """
    if time.time() - pending.began > PENDING_SECONDS:
        raise Denied("it took too long; begin again")
    if not secrets.compare_digest(query.get("state", "").encode(), pending.state.encode()):
        raise Distrusted("what came back belongs to another login (its state differs)")
    issuer = query.get("iss")
    if (issuer is not None and issuer != pending.issuer) or (issuer is None and pending.names_issuer):
        raise Distrusted(f"the answer is that of {clipped(str(issuer))!r}, not of {pending.issuer!r}")
    if "error" in query:
        words = query.get("error_description") or query["error"]
        raise Denied(f"the authorization server said no: {clipped(harmless(words))}", clipped(query["error"], 50))
    if not query.get("code"):
        raise Denied("no code came back")
    return query["code"]


async def revoke(login: Login, auth: AuthConfig) -> bool:
    """Tell the authorization server that a login is over (RFC 7009). Returns whether it has heard it."""
    token, hint = (login.refresh, "refresh_token") if login.refresh else (login.access, "access_token")
    if login.revocation_endpoint is None or not token:
        return False
    form, headers = {"token": token, "token_type_hint": hint}, {"content-type": "application/x-www-form-urlencoded"}
    current(login.registered, auth).client.prove(form, headers, login.revocation_endpoint, login.issuer)
    web = web_for(login.url, auth)
    try:
        answer = await web.post(login.revocation_endpoint, urlencode(form).encode(), headers)
        if answer.status == 400 and login.registered.secret is None:
            # The SDK's server wants the field of whoever has none, too. Empty, it says the same (RFC 6749, 2.3.1).
            form["client_secret"] = ""
            answer = await web.post(login.revocation_endpoint, urlencode(form).encode(), headers)
    except (Unreachable, Distrusted):
        return False
    return answer.status == 200
