"""An issuer of our own, on a real socket, that does what a proper one never would: forge, stall, lie, go down."""

import hmac
import json
import ssl
from base64 import urlsafe_b64encode
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final

import anyio
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import Algorithm, get_default_algorithms

from gateway.access.issuer import Issuer, IssuerDocument
from gateway.access.oauth import OAuth
from gateway.access.oauth_settings import ResourceServerSettings

RESOURCE: Final = "https://gateway.example/mcp"
"""What tokens here are issued for."""
KID: Final = "first"
START: Final = 1_700_000_000.0
"""What `Clock` shows at first: a moment long ago, so that nothing can lean on the machine's own clock."""


@dataclass(slots=True)
class Clock:
    """A clock that stands still until it is moved."""

    now: float = START

    def __call__(self) -> float:
        return self.now


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A key pair, as an issuer holds it."""

    kid: str
    algorithm: str
    private: Any

    @property
    def jwk(self) -> dict[str, Any]:
        """The public key as the issuer publishes it."""
        algorithm: Algorithm = get_default_algorithms()[self.algorithm]
        public = algorithm.to_jwk(self.private.public_key(), as_dict=True)
        return {**public, "kid": self.kid, "use": "sig", "alg": self.algorithm}

    def sign(self, claims: Any, **header: Any) -> str:
        """A signed token with this payload; None among `header` leaves a field out."""
        head = {"typ": "at+jwt", "alg": self.algorithm, "kid": self.kid, **header}
        signing_input = segments({name: value for name, value in head.items() if value is not None}, claims)
        algorithm = get_default_algorithms()[self.algorithm]
        return seal(signing_input, algorithm.sign(signing_input.encode(), self.private))


@cache
def signing_key(kid: str = KID, algorithm: str = "RS256") -> SigningKey:
    """A new key pair for every name, made once."""
    if algorithm.startswith("ES"):
        curve = {"ES256": ec.SECP256R1(), "ES384": ec.SECP384R1(), "ES512": ec.SECP521R1()}[algorithm]
        return SigningKey(kid, algorithm, ec.generate_private_key(curve))
    if algorithm == "EdDSA":
        return SigningKey(kid, algorithm, ed25519.Ed25519PrivateKey.generate())
    return SigningKey(kid, algorithm, rsa.generate_private_key(65537, 2048))


def segments(header: object, payload: object) -> str:
    """The part of a token that is signed; bytes go in as they are."""
    return ".".join(
        _encode(part if isinstance(part, bytes) else json.dumps(part).encode()) for part in (header, payload)
    )


def seal(signing_input: str, signature: bytes) -> str:
    return f"{signing_input}.{_encode(signature)}"


def hmac_token(secret: bytes, claims: object, algorithm: str = "HS256", **header: Any) -> str:
    """A token of the symmetric kind."""
    signing_input = segments({"typ": "at+jwt", "alg": algorithm, "kid": KID, **header}, claims)
    return seal(signing_input, hmac.digest(secret, signing_input.encode(), "sha" + algorithm[2:]))


def _encode(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def claims_of(issuer: str, **changed: Any) -> dict[str, Any]:
    """The claims of a good token, with these changes; None leaves a claim out."""
    claims = {
        "iss": issuer,
        "aud": RESOURCE,
        "sub": "alice",
        "scope": "read write",
        "iat": int(START),
        "nbf": int(START),
        "exp": int(START) + 10 * 365 * 86_400,
        **changed,
    }
    return {name: value for name, value in claims.items() if value is not None}


@dataclass(slots=True)
class LocalIssuer:
    """An issuer that listens while `local_issuer` is entered."""

    port: int
    path: str = ""
    keys: list[SigningKey] = field(default_factory=lambda: [signing_key()])
    hits: Counter[str] = field(default_factory=Counter[str])
    """How often each path was asked for."""
    headers: dict[str, str] = field(default_factory=dict[str, str])
    """Of the answer with the keys."""
    metadata: dict[str, Any] = field(default_factory=dict[str, Any])
    """What is different in its metadata."""
    answers: dict[str, Callable[[], web.Response]] = field(default_factory=dict[str, Callable[[], web.Response]])
    """What a path answers instead."""
    gate: anyio.Event | None = None
    """If there, what the keys wait for before they are sent."""
    tls: ssl.SSLContext | None = None
    host: str = "127.0.0.1"
    """As in its URL."""
    runner: web.AppRunner | None = None

    @property
    def base(self) -> str:
        return f"{'https' if self.tls else 'http'}://{self.host}:{self.port}"

    @property
    def url(self) -> str:
        return self.base + self.path

    @property
    def key(self) -> SigningKey:
        return self.keys[0]

    @property
    def fetches(self) -> int:
        return self.hits["/jwks"]

    def token(self, **changed: Any) -> str:
        """A good token, but for these claims."""
        return self.key.sign(claims_of(self.url, **changed))

    async def up(self) -> None:
        app = web.Application()
        app.router.add_get("/{path:.*}", self._answer)
        self.runner = web.AppRunner(app, handle_signals=False, access_log=None, shutdown_timeout=0.1)
        await self.runner.setup()
        site = web.TCPSite(self.runner, "127.0.0.1", self.port, reuse_address=True, ssl_context=self.tls)
        await site.start()
        self.port = self.runner.addresses[0][1]

    async def down(self) -> None:
        if self.runner is not None:
            await self.runner.cleanup()
        self.runner = None

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        path = request.path
        self.hits[path] += 1
        if path in self.answers:
            return self.answers[path]()
        if path == "/jwks":
            if self.gate is not None:
                await self.gate.wait()
            return web.json_response({"keys": [key.jwk for key in self.keys]}, headers=self.headers)
        if path == f"/.well-known/oauth-authorization-server{self.path}":
            return web.json_response({"issuer": self.url, "jwks_uri": f"{self.base}/jwks", **self.metadata})
        return web.Response(status=404)


@asynccontextmanager
async def local_issuer(path: str = "", *keys: SigningKey, **others: Any) -> AsyncGenerator[LocalIssuer]:
    issuer = LocalIssuer(0, path, [*keys] or [signing_key()], **others)
    await issuer.up()
    try:
        yield issuer
    finally:
        if issuer.gate is not None:
            issuer.gate.set()
        await issuer.down()


def settings_for(issuer: str, **changed: Any) -> ResourceServerSettings:
    values: dict[str, Any] = {"issuer": issuer, "resource": RESOURCE, "allow_private": True, **changed}
    return ResourceServerSettings(**values)


@asynccontextmanager
async def resource_server(
    settings: ResourceServerSettings, clock: Clock, issuer: Issuer | None = None, **more: Any
) -> AsyncGenerator[OAuth]:
    """`OAuth`, running, by that clock alone."""
    oauth = OAuth(settings, issuer, clock, clock, **more)
    async with anyio.create_task_group() as tg:
        tg.start_soon(oauth.run)
        yield oauth
        tg.cancel_scope.cancel()


@dataclass(frozen=True, slots=True)
class House:
    """A running resource server and its issuer."""

    issuer: LocalIssuer
    oauth: OAuth
    clock: Clock


class KnownIssuer(Issuer):
    """An issuer whose keys need no fetching."""

    def __init__(self, keys: Mapping[str, Any] | None = None) -> None:
        super().__init__("https://issuer.example")
        self.document = keys or {"keys": [signing_key().jwk]}

    async def keys(self) -> IssuerDocument:
        return IssuerDocument(dict(self.document), None)
