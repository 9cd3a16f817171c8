"""OAuth 2.1 resource server: an access token from the owner's authorization server, checked here, makes a principal.

Of the token itself nothing is believed before its signature is verified, but which of the issuer's keys it names; and
of its header nothing ever (`jku`, `x5u`, `jwk`) that would say where a key comes from. RFC 9068, RFC 8725.
"""

import base64
import hmac
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any, ClassVar, Final, cast

import jwt

from gateway.access import claims, metadata
from gateway.access.issuer import Issuer
from gateway.access.jwks import Key, KeySet
from gateway.access.oauth_settings import ResourceServerSettings
from gateway.errors import Unauthenticated
from gateway.jsonrpc import loads
from gateway.request import Principal

MAX_TOKEN: Final = 16 * 1024
"""Longest token, in characters."""

MAX_ACCEPTED: Final = 4096
"""Most tokens that are remembered as verified: checking a signature costs more than the rest of a call."""

_ID_TOKEN_TYPES: Final = frozenset({"jwt", ""})


@dataclass(frozen=True, slots=True)
class Accepted:
    """A token that was verified, for as long as its key is the issuer's. Its times are checked every time."""

    principal: Principal
    audience: frozenset[str] | None
    """The upstreams it was issued for; None means the gateway as a whole."""
    times: claims.Claims
    kid: str | None
    algorithm: str
    key: Key


class OAuth:
    """`Authorization: Bearer`, by access tokens in JWT form. `run` must be running.

    Args:
        issuer: whom to ask for keys, if not the one that the settings describe.
        clock: monotonic, in seconds; for how long keys are kept.
        now: seconds since the epoch; for a token's times.
        on_revoked: told the principal ids whose tokens are no longer good, for the issuer withdrew the key.
        on_accepted: told of each principal with the token that it came with, which is good.
    """

    header: ClassVar[str] = "authorization"
    good_for: ClassVar[float] = 0.25

    def __init__(
        self,
        settings: ResourceServerSettings,
        issuer: Issuer | None = None,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
        on_revoked: Callable[[frozenset[str]], None] = lambda ids: None,
        on_accepted: Callable[[Principal, str], None] | None = None,
    ) -> None:
        self._on_accepted = on_accepted
        self._settings = settings
        self._now = now
        self._types = frozenset(name.lower() for name in settings.token_types)
        self._jws = jwt.PyJWS(settings.algorithms)
        issuer = issuer or Issuer(settings.issuer, settings.jwks_uri, allow_private=settings.allow_private)
        self._keys = KeySet(issuer, settings.algorithms, clock, self._on_withdrawn)
        self._on_revoked = on_revoked
        self._vouched: dict[str, set[str]] = {}
        """Thumbprint of a key → ids of those whom a token of its let in, themselves or an agent of theirs."""
        self._accepted: dict[bytes, Accepted] = {}
        """By the token's digest."""

    async def run(self) -> None:
        """Keep the issuer's keys, until cancelled."""
        await self._keys.run()

    async def authenticate(self, credential: str, view: str | None = None, address: str = "") -> Principal:
        """
        Args:
            credential: the value of `Authorization`.
            view: see `Authenticator`; a token that was issued for other upstreams alone is no good there.

        Raises:
            Unauthenticated: with the `WWW-Authenticate` header that says so; the message repeats nothing of the token.
            IssuerUnavailable: the issuer's keys are not to be had.
        """
        scheme, _, token = credential.strip().partition(" ")
        if scheme.lower() != "bearer":
            error = Unauthenticated("Authorization must be `Bearer` and an access token.")
            error.headers["www-authenticate"] = metadata.login_challenge(self._settings, view)
            raise error
        try:
            return await self._principal(token.strip(), view)
        except Unauthenticated as error:
            error.headers["www-authenticate"] = metadata.token_challenge(self._settings, error.message, view)
            raise

    async def identify(self, token: str, client_id: str, nonce: str) -> Principal:
        """Who somebody is by an ID token that they were given just now (OpenID Connect Core, 3.1.3.7).

        Args:
            client_id: the client that it was given to.
            nonce: what was asked for.

        Raises:
            Unauthenticated: it says nothing that can be relied on.
            IssuerUnavailable: the issuer's keys are not to be had.
        """
        if len(token) > MAX_TOKEN or token.count(".") != 2 or not token.isascii():
            raise Unauthenticated("The ID token is not a signed JWT.")
        settings = replace(self._settings, audiences=(client_id,))
        kid, algorithm = self._header(token, _ID_TOKEN_TYPES)
        _, payload = await self._verify(token, kid, algorithm, settings)
        if not isinstance(payload, dict):
            raise Unauthenticated("The ID token has no claims.")
        found = cast(dict[str, Any], payload)
        given, audience = found.get("nonce"), found.get("aud")
        audience = cast("list[Any]", audience) if isinstance(audience, list) else [audience]
        if not isinstance(given, str) or not hmac.compare_digest(given.encode(errors="surrogatepass"), nonce.encode()):
            raise Unauthenticated("The ID token belongs to another sign-in (`nonce`).")
        if client_id not in audience or found.get("azp", client_id) != client_id:
            raise Unauthenticated("The ID token is for another client (`aud`, `azp`).")
        if len(audience) > 1 and "azp" not in found:
            raise Unauthenticated("The ID token is for several, and does not say who asked for it (`azp`).")
        claims.check_time(found, self._settings.leeway, self._now())
        return claims.principal(found, settings)

    def knows(self, principal_id: str) -> bool:
        """Whether it may be the id of somebody who comes in this way."""
        return principal_id.startswith(claims.id_prefix(self._settings))

    async def vouches(self, agent: Principal, root: str) -> bool:
        """Whether the key of the token that an agent was registered with is still the issuer's.

        Raises:
            IssuerUnavailable: it has not been reached for so long, or ever, that nobody knows.
        """
        if not agent.key:
            return True  # registered before keys were noted
        if not await self._keys.holds(agent.key):
            return False
        self._note(agent.key, root)
        return True

    def _note(self, key: str, principal_id: str) -> None:
        ids = self._vouched.setdefault(key, set())
        if len(ids) < MAX_ACCEPTED:
            ids.add(principal_id)

    def _on_withdrawn(self, keys: frozenset[str]) -> None:
        ids = frozenset(id for key in keys for id in self._vouched.pop(key, ()))
        if ids:
            self._on_revoked(ids)

    async def _principal(self, token: str, view: str | None) -> Principal:
        if len(token) > MAX_TOKEN:
            raise Unauthenticated(f"The bearer token is longer than {MAX_TOKEN} characters.")
        if token.count(".") != 2 or not token.isascii():
            raise Unauthenticated("The bearer token is not a signed JWT.")
        digest = sha256(token.encode()).digest()
        accepted = self._accepted.get(digest)
        if accepted is None or not await self._keys.still_finds(accepted.kid, accepted.algorithm, accepted.key):
            self._accepted.pop(digest, None)
            accepted = await self._accept(token)
            self._accepted[digest] = accepted
            if len(self._accepted) > MAX_ACCEPTED:
                del self._accepted[next(iter(self._accepted))]
        claims.check_time(accepted.times, self._settings.leeway, self._now())
        if accepted.audience is not None and view not in (None, *accepted.audience):
            raise Unauthenticated("The bearer token is for other endpoints of this gateway (`aud`).")
        if self._on_accepted is not None:
            self._on_accepted(accepted.principal, token)
        return accepted.principal

    async def _accept(self, token: str) -> Accepted:
        """Everything but the time."""
        kid, algorithm = self._header(token, self._types)
        key, payload = await self._verify(token, kid, algorithm, self._settings)
        if not isinstance(payload, dict):
            raise Unauthenticated("The bearer token has no claims.")
        found = cast(dict[str, Any], payload)
        times = {name: found[name] for name in ("exp", "nbf", "iat") if name in found}
        made, audience = claims.principal(found, self._settings), claims.addressed(found, self._settings)
        self._note(key.thumbprint, made.id)
        return Accepted(replace(made, key=key.thumbprint), audience, times, kid, algorithm, key)

    async def _verify(
        self, token: str, kid: str | None, algorithm: str, settings: ResourceServerSettings
    ) -> tuple[Key, object]:
        """The key that a token is signed with, and its payload. For a token that fits none of the keys we have, a
        rotation may have been missed: then the issuer is asked, if by its claims it could be a good one.

        Raises:
            Unauthenticated: it is not signed with one of the issuer's keys.
            IssuerUnavailable: the issuer cannot be asked.
        """
        tried: list[Key] = []
        await self._keys.ensure()
        while True:
            is_stranger = not self._keys.has(kid, algorithm, tried) and self._is_stranger(token, settings)
            found = await self._keys.find(kid, algorithm, tried=tried, is_stranger=is_stranger)
            if not found:
                raise Unauthenticated("The bearer token is not signed with a key of the authorization server.")
            for key in found:
                try:
                    payload = self._jws.decode(token, key.public, [algorithm])
                except jwt.InvalidSignatureError:
                    tried.append(key)
                except (jwt.PyJWTError, ValueError):
                    raise Unauthenticated("The bearer token's signature is not valid.") from None
                else:
                    return key, _parsed(payload)

    def _is_stranger(self, token: str, settings: ResourceServerSettings) -> bool:
        """Whether it names somebody who has never been here.

        Raises:
            Unauthenticated: whoever signed it, it would not be good.
        """
        try:
            middle = token.split(".")[1]
            found = _parsed(base64.urlsafe_b64decode(middle + "=" * (-len(middle) % 4)))
            if not isinstance(found, dict):
                raise Unauthenticated("The bearer token has no claims.")
            unverified = cast(dict[str, Any], found)
            claims.check_time(unverified, settings.leeway, self._now())
            id = claims.principal(unverified, settings).id
        except (Unauthenticated, ValueError):
            raise Unauthenticated("The bearer token is not signed with a key of the authorization server.") from None
        return all(id not in ids for ids in self._vouched.values())

    def _header(self, token: str, types: Collection[str]) -> tuple[str | None, str]:
        """The `kid` and `alg` of a token whose header is in order."""
        try:
            # The header alone: the rest is decoded once, together with the signature.
            header = self._jws.get_unverified_header(token[: token.index(".")] + "..")
        except (jwt.PyJWTError, ValueError):
            raise Unauthenticated("The bearer token is not a signed JWT.") from None
        algorithm, kind = header.get("alg"), header.get("typ", "")
        if not isinstance(algorithm, str) or algorithm not in self._settings.algorithms:
            raise Unauthenticated("The bearer token's `alg` is not accepted.")
        if not isinstance(kind, str) or kind.lower().removeprefix("application/") not in types:
            raise Unauthenticated("The bearer token's `typ` is not that of an access token.")
        return header.get("kid"), algorithm


def _parsed(payload: bytes) -> object:
    try:
        return loads(payload)
    except ValueError:
        return None
