"""How the gateway proves to a server who asks: a login that somebody makes, or a machine's own credential."""

from collections.abc import Iterator
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from gateway.config.models.fields import FilePath, Line, Model

Kind = Literal["auto", "none", "login", "client_credentials", "token_exchange", "enterprise", "workload"]


def is_https_or_local(url: str) -> bool:
    """Whether what is sent there is not readable on the way: HTTPS, or this machine."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return False
    local = host in ("localhost", "127.0.0.1", "::1")
    return bool(host) and (parts.scheme == "https" or (parts.scheme == "http" and local))


def _secure(url: str) -> str:
    if not is_https_or_local(url) or any(c.isspace() or not c.isprintable() for c in url) or "#" in url:
        raise ValueError("must be an https:// URL (http:// on this machine only)")
    return url


SecureUrl = Annotated[Line, AfterValidator(_secure)]
Scope = Annotated[Line, Field(min_length=1)]
SubjectType = Literal["access_token", "id_token", "jwt"]
"""Of RFC 8693, 3."""


class _Client(Model):
    """How the gateway proves to an authorization server that it is the client that it says."""

    client_secret: Line | None = Field(default=None, repr=False)
    """Its secret."""
    private_key_file: FilePath | None = None
    """A PEM file with its private key, instead of a secret (RFC 7523). Relative to the file that names it."""
    key_id: Line | None = None
    """The key's `kid`, where the authorization server knows several."""

    @model_validator(mode="after")
    def _has_one_proof(self) -> Self:
        if self.client_secret is not None and self.private_key_file is not None:
            raise ValueError("has both `client_secret` and `private_key_file`; keep one")
        return self


class ClientCredentials(_Client):
    """The gateway's own credential, without any person (RFC 6749, 4.4)."""

    client_id: Line
    """The client that the authorization server knows the gateway as."""
    algorithm: Literal["RS256", "PS256", "ES256", "ES384", "EdDSA"] | None = None
    """How to sign with it; by the key's type when absent."""
    issuer: SecureUrl | None = None
    """The authorization server, if the server's metadata is not to be asked."""
    token_endpoint: SecureUrl | None = None
    """Where tokens are had, if no metadata is to be asked at all."""
    audience: Line | None = None
    """`audience` of the token request, for authorization servers that want it."""
    scopes: list[Scope] = Field(default=[])
    """Scopes to ask for; those that the server names when absent."""

    @model_validator(mode="after")
    def _has_a_proof(self) -> Self:
        if self.client_secret is None and self.private_key_file is None:
            raise ValueError("needs one of `client_secret` and `private_key_file`")
        return self


class TokenExchange(_Client):
    """A token for whoever asks, in exchange for the validated OAuth token that their agent came with (RFC 8693)."""

    issuer: SecureUrl | None = None
    """The authorization server that exchanges; the one of `gateway.auth.oauth`, which issued the tokens, when absent.
    What the server's metadata names is not asked: it would be shown the agents' own tokens."""
    token_endpoint: SecureUrl | None = None
    """Where it does, if its metadata is not to be asked."""
    client_id: Line
    """The client that it knows the gateway as."""
    subject_token_type: SubjectType = "access_token"  # noqa: S105 - the name of a kind
    """What the agents' tokens are to it."""
    audience: Line | None = None
    """`audience` of the request."""
    resource: Line | None = None
    """`resource` of the request; the server's own when absent."""
    scopes: list[Scope] = Field(default=[])
    """Scopes to ask for."""
    otherwise: Literal["refuse", "login"] = "refuse"
    """What those get who came with an API key or an agent token: an error, or a login of their own."""


class IdentityProvider(_Client):
    """Who vouches for the company's people."""

    issuer: SecureUrl
    """Its issuer URL."""
    token_endpoint: SecureUrl | None = None
    """Where it exchanges tokens, if its metadata is not to be asked."""
    client_id: Line
    """The client that it knows the gateway as."""
    subject_token_type: SubjectType = "access_token"  # noqa: S105 - the name of a kind
    """What the tokens are to it that agents come with."""
    id_token_file: FilePath | None = None
    """A file with an ID token, read anew each time, instead of what agents come with: for a gateway of one person.
    Relative to the file that names it."""


class Enterprise(_Client):
    """Enterprise-managed authorization: the identity provider vouches (ID-JAG), the server's own one accepts that."""

    idp: IdentityProvider
    """Who vouches."""
    client_id: Line | None = None
    """The client that the server's authorization server knows the gateway as; as at the `idp` when absent."""
    issuer: SecureUrl | None = None
    """The server's authorization server, if its metadata is not to be asked."""
    scopes: list[Scope] = Field(default=[])
    """Scopes to ask for."""


class Workload(Model):
    """A token that the platform gives this process (Kubernetes projects it into a file), exchanged for the server's."""

    token_file: FilePath
    """The file, read anew each time. Relative to the file that names it."""
    issuer: SecureUrl | None = None
    """The authorization server, if the server's metadata is not to be asked."""
    token_endpoint: SecureUrl | None = None
    """Where tokens are had, if no metadata is to be asked at all."""
    client_id: Line | None = None
    """The client that it knows the gateway as, if it wants one."""
    audience: Line | None = None
    """`audience` of the request."""
    scopes: list[Scope] = Field(default=[])
    """Scopes to ask for."""


class AuthConfig(Model):
    """How the gateway proves to a server who asks."""

    login: Literal["auto", "none", "shared", "each"] = "auto"
    """Who logs in: `shared`, one login for all; `each`, every principal for themselves; `none`, nobody; `auto`, `each`
    where the gateway asks for keys, else `shared`, if the server wants one."""
    scopes: list[Scope] = Field(default=[])
    """Scopes to ask for, besides those that the server asks for."""
    client_id: Line | None = None
    """The client that the authorization server knows the gateway as. When absent, the gateway introduces itself."""
    client_secret: Line | None = Field(default=None, repr=False)
    """Its secret, if it has one."""
    issuer: SecureUrl | None = None
    """The one authorization server to log in at; another that the server's metadata names is refused."""
    callback_port: Annotated[int, Field(ge=1, le=65535)] | None = None
    """Port of `http://localhost:PORT/callback`, where `client_id` was registered with it; a free one when absent."""
    show_before_login: bool = False
    """Show who has not logged in yet the tools that are pinned of the server (`each`); their first call asks to."""
    client_credentials: ClientCredentials | None = None
    """The gateway's own credential, without any person."""
    token_exchange: TokenExchange | None = None
    """A token for whoever asks, in exchange for the one that their agent came with."""
    enterprise: Enterprise | None = None
    """Enterprise-managed authorization: the identity provider of the company vouches."""
    workload: Workload | None = None
    """A token that the platform gives this process."""

    @property
    def kind(self) -> Kind:
        machine = next(_machines(self), None)
        if machine is not None:
            return machine
        return "login" if self.login in ("shared", "each") else "none" if self.login == "none" else "auto"

    @property
    def is_on_behalf(self) -> bool:
        """Whether the server is asked in the name of the principal that calls, by the token that their agent has."""
        if self.enterprise is not None:
            return self.enterprise.idp.id_token_file is None
        return self.token_exchange is not None

    @property
    def has_logins_otherwise(self) -> bool:
        """Whether those log in who did not come with a token to exchange."""
        return self.token_exchange is not None and self.token_exchange.otherwise == "login"

    @property
    def secrets(self) -> Iterator[str]:
        """What must not be shown."""
        idp = self.enterprise.idp if self.enterprise is not None else None
        for part in (self, self.client_credentials, self.token_exchange, self.enterprise, idp):
            if part is not None and part.client_secret is not None:
                yield part.client_secret

    @model_validator(mode="after")
    def _is_one_thing(self) -> "AuthConfig":
        machines = list(_machines(self))
        if len(machines) > 1:
            raise ValueError(f"has both `{machines[0]}` and `{machines[1]}`; keep one")
        other = self.model_fields_set & {"login", "client_id", "client_secret", "callback_port"}
        exchanges = self.token_exchange is not None and self.token_exchange.otherwise == "login"
        if machines and other and not exchanges:
            raise ValueError(f"has `{machines[0]}`, with which nobody logs in; remove `{min(other)}`")
        if self.client_secret is not None and self.client_id is None:
            raise ValueError("has `client_secret`, but no `client_id`")
        return self


def _machines(auth: AuthConfig) -> Iterator[Kind]:
    if auth.client_credentials is not None:
        yield "client_credentials"
    if auth.token_exchange is not None:
        yield "token_exchange"
    if auth.enterprise is not None:
        yield "enterprise"
    if auth.workload is not None:
        yield "workload"


def spelled(value: Any) -> Any:
    """`auth: each` is short for `auth: {login: each}`."""
    return {"login": value} if isinstance(value, str) else value
