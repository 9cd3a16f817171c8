"""The gateway's own credential at a server, without any person: client credentials.

Source: RFC 6749, 4.4; modelcontextprotocol/ext-auth, client credentials.
"""

from abc import ABC, abstractmethod
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from gateway.logins import discovery, token_request
from gateway.logins.challenge import wanted
from gateway.logins.clients import Client, SecretClient, secret_method
from gateway.logins.failures import Distrusted
from gateway.logins.grants import Tokens
from gateway.logins.web import Web


@dataclass(frozen=True, slots=True)
class TokenEndpoint:
    """Where a machine gets its tokens, and for what."""

    url: str
    issuer: str
    resource: str | None
    auth_methods: Collection[str] | None = None
    scopes: tuple[str, ...] = ()
    """Those that the server knows of."""


@dataclass(slots=True)
class Finder(ABC):
    """Finds a token endpoint, once."""

    web: Web
    url: str
    """The server's."""
    _found: TokenEndpoint | None = field(default=None, init=False)

    async def find(self, header: str = "") -> TokenEndpoint:
        """
        Raises:
            Distrusted, Unreachable: it cannot be known.
        """
        if self._found is None:
            self._found = await self._look(header)
        return self._found

    @abstractmethod
    async def _look(self, header: str) -> TokenEndpoint: ...


@dataclass(slots=True)
class Where(Finder):
    """Finds the token endpoint of a server, once.

    Args:
        issuer, token_endpoint: what need not be asked.
    """

    issuer: str | None = None
    token_endpoint: str | None = None

    async def _look(self, header: str) -> TokenEndpoint:
        own = discovery.canonical(self.url)
        if self.token_endpoint is not None:
            return TokenEndpoint(self.token_endpoint, self.issuer or self.token_endpoint, own)
        found = await discovery.resource(self.web, self.url, wanted(header))
        server = await discovery.authorization_server(self.web, found, self.url, self.issuer)
        return TokenEndpoint(
            server.token_endpoint, server.issuer, found.identifier, server.auth_methods, found.scopes or ()
        )


@dataclass(slots=True)
class NamedServer(Finder):
    """As `Where`, of an authorization server that the file names and the server's metadata need not: nothing that a
    server says of itself decides where an agent's own token goes.
    """

    issuer: str
    token_endpoint: str | None = None

    async def _look(self, header: str) -> TokenEndpoint:
        own = discovery.canonical(self.url)
        if self.token_endpoint is not None:
            return TokenEndpoint(self.token_endpoint, self.issuer, own)
        server = await discovery.of_issuer(self.web, self.issuer)
        if server is None:
            raise Distrusted(f"the authorization server {self.issuer} has no metadata; name its token_endpoint")
        return TokenEndpoint(server.token_endpoint, server.issuer, own, server.auth_methods)


@dataclass(frozen=True, slots=True)
class Identity:
    """Who the gateway is to an authorization server, as the file says."""

    client_id: str
    client_secret: str | None = field(default=None, repr=False)
    private_key_file: Path | None = None
    key_id: str | None = None
    algorithm: str | None = None

    async def client(self, endpoint: TokenEndpoint) -> Client:
        """
        Raises:
            Denied, Unreachable: its key cannot be used.
        """
        if self.private_key_file is not None:
            from gateway.logins.key_client import key_client

            return await key_client(self.client_id, self.private_key_file, self.algorithm, self.key_id)
        return SecretClient(
            self.client_id, self.client_secret, secret_method(self.client_secret, endpoint.auth_methods)
        )


class ClientCredentialsGrant:
    """`Grant`: one token for all.

    Args:
        resource: what it is for, where that is not the server itself.
    """

    def __init__(
        self,
        identity: Identity,
        where: Finder,
        scopes: Collection[str],
        audience: str | None = None,
        resource: str | None = None,
    ) -> None:
        self._identity = identity
        self._where = where
        self._scopes = scopes
        self._audience = audience
        self._resource = resource

    async def known(self) -> Tokens | None:
        return None

    async def obtain(self, refused: Tokens | None, scopes: Collection[str], header: str) -> Tokens:
        endpoint = await self._where.find(header)
        before = refused.scopes if refused is not None else ()
        form = {"grant_type": "client_credentials"}
        form |= scope_of(before, self._scopes or endpoint.scopes, scopes)
        form |= target_of(self._audience, self._resource or endpoint.resource)
        client = await self._identity.client(endpoint)
        return (await token_request.request(self._where.web, endpoint.url, endpoint.issuer, form, client)).tokens


def scope_of(*scopes: Collection[str]) -> dict[str, str]:
    """`scope` of a request, if there is any; each once."""
    wanted = list(dict.fromkeys(scope for some in scopes for scope in some))
    return {"scope": " ".join(wanted)} if wanted else {}


def target_of(audience: str | None, resource: str | None) -> dict[str, str]:
    """`audience` and `resource` of a request, as far as there are any."""
    given = {"audience": audience, "resource": resource}
    return {name: value for name, value in given.items() if value is not None}
