"""What is kept of a login: whose it is, where, as which client, and the tokens. One record a principal and server."""

import hashlib
from dataclasses import dataclass

import msgspec

from gateway.logins.clients import SecretClient, SecretMethod
from gateway.logins.discovery import canonical
from gateway.logins.grants import Tokens

SHARED = ""
"""Instead of a principal's id: the one login that all use."""


@dataclass(frozen=True, slots=True)
class LoginKey:
    """Whose login it is, and where. A server that is another by its address is another."""

    principal: str
    """The principal's id, or `SHARED`."""
    server: str
    url: str
    """The server's."""

    @property
    def name(self) -> str:
        """What it is called where records are kept: 32 hexadecimal digits."""
        parts = "\0".join((self.principal, self.server, canonical(self.url)))
        return hashlib.sha256(parts.encode("utf-8", "surrogatepass")).hexdigest()[:32]


class RegisteredClient(msgspec.Struct, frozen=True):
    """Who the gateway is to an authorization server."""

    id: str
    secret: str | None = None
    method: SecretMethod = "none"
    looked: float = 0.0
    """When it was last seen to whether it is still known there, in seconds since 1970; of one that is kept."""

    def __repr__(self) -> str:
        return f"Registered({self.id!r})"

    @property
    def client(self) -> SecretClient:
        return SecretClient(self.id, self.secret, self.method)


class Login(msgspec.Struct, frozen=True, kw_only=True):
    """A login that somebody made. Times are seconds since 1970."""

    principal: str
    owner: str
    """Who made it, in words."""
    server: str
    url: str
    issuer: str
    """The one authorization server that ever sees its refresh token."""
    resource: str
    token_endpoint: str
    revocation_endpoint: str | None = None
    registered: RegisteredClient
    redirect_uri: str = ""
    """Where the browser came back to, which is what it was registered for."""
    access: str = ""
    """Empty if there is none any more."""
    expires: float | None = None
    renew_at: float | None = None
    refresh: str | None = None
    scopes: list[str] = msgspec.field(default_factory=list[str])
    """Those granted."""
    asked: list[str] = msgspec.field(default_factory=list[str])
    """Those that were asked for."""
    made: float = 0.0
    renewing: float = 0.0
    """Since when it is being renewed. If nobody has its turn, that was cut off: the authorization server may have taken
    the refresh token, and have answered with another that nobody ever got. 0 if not."""
    ending: str = ""
    """Why it ends with its access token."""
    lost: str = ""
    """Why it is not good any more."""

    def __repr__(self) -> str:
        return f"Login({self.server!r}, {self.owner!r})"

    @property
    def key(self) -> LoginKey:
        return LoginKey(self.principal, self.server, self.url)

    @property
    def tokens(self) -> Tokens | None:
        if not self.access or self.lost:
            return None
        renew_at = float("inf") if self.renew_at is None or self.refresh is None else self.renew_at
        return Tokens(self.access, self.expires, tuple(self.scopes), renew_at)

    def with_tokens(self, tokens: Tokens, refresh: str | None) -> "Login":
        """The same with what was granted last."""
        return msgspec.structs.replace(
            self,
            access=tokens.access,
            expires=tokens.expires,
            renew_at=None if tokens.renew_at == float("inf") else tokens.renew_at,
            refresh=refresh if refresh is not None else self.refresh,
            scopes=list(tokens.scopes) or self.scopes,
            renewing=0.0,
            ending="",
            lost="",
        )

    def renewed_since(self, now: float) -> "Login":
        """The same while it is being renewed."""
        return msgspec.structs.replace(self, renewing=now)

    def without_refresh(self, reason: str) -> "Login":
        """What is left where the refresh token is good no more: the access token, until its end."""
        return msgspec.structs.replace(self, renew_at=None, refresh=None, renewing=0.0, ending=reason)

    def without_tokens(self, reason: str) -> "Login":
        none = msgspec.structs.replace(self, access="", expires=None, renew_at=None, refresh=None, lost=reason)
        return msgspec.structs.replace(none, renewing=0.0, ending="")
