"""The gateway's own credential at a server, without any person: client credentials.

Source: RFC 6749, 4.4; modelcontextprotocol/ext-auth, client credentials.
"""

from collections.abc import Collection
from dataclasses import dataclass, field

from gateway.config.models.auth import ClientCredentials
from gateway.logins import discovery, token_request
from gateway.logins.challenge import wanted
from gateway.logins.clients import Client, SecretClient, secret_method
from gateway.logins.failures import Denied
from gateway.logins.grants import Tokens
from gateway.logins.web import Web


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a machine gets its tokens, and for what."""

    url: str
    issuer: str
    resource: str | None
    auth_methods: Collection[str] | None = None
    scopes: tuple[str, ...] = ()
    """Those that the server knows of."""


@dataclass(slots=True)
class Where:
    """Finds the token endpoint of a server, once.

    Args:
        url: the server's.
        issuer, token_endpoint: what need not be asked.
    """

    web: Web
    url: str
    issuer: str | None = None
    token_endpoint: str | None = None
    _found: Endpoint | None = field(default=None, init=False)

    async def find(self, header: str = "") -> Endpoint:
        """
        Raises:
            Distrusted, Unreachable: it cannot be known.
        """
        if self._found is None:
            self._found = await self._look(header)
        return self._found

    async def _look(self, header: str) -> Endpoint:
        own = discovery.canonical(self.url)
        if self.token_endpoint is not None:
            return Endpoint(self.token_endpoint, self.issuer or self.token_endpoint, own)
        found = await discovery.resource(self.web, self.url, wanted(header))
        server = await discovery.authorization_server(self.web, found, self.url, self.issuer)
        return Endpoint(server.token_endpoint, server.issuer, found.identifier, server.auth_methods, found.scopes or ())


class ClientCredentialsGrant:
    """`Grant`: one token for all."""

    def __init__(self, config: ClientCredentials, where: Where) -> None:
        self._config = config
        self._where = where

    async def known(self) -> Tokens | None:
        return None

    async def obtain(self, refused: Tokens | None, scopes: Collection[str], header: str) -> Tokens:
        endpoint = await self._where.find(header)
        before = refused.scopes if refused is not None else ()
        wanted = list(dict.fromkeys([*before, *(self._config.scopes or endpoint.scopes), *scopes]))
        form = {"grant_type": "client_credentials"}
        if wanted:
            form["scope"] = " ".join(wanted)
        if endpoint.resource is not None:
            form["resource"] = endpoint.resource
        if self._config.audience is not None:
            form["audience"] = self._config.audience
        client = self._client(endpoint)
        return (await token_request.request(self._where.web, endpoint.url, endpoint.issuer, form, client)).tokens

    def _client(self, endpoint: Endpoint) -> Client:
        """Place for `private_key_file`."""
        secret = self._config.client_secret
        if secret is None:
            raise Denied("client_credentials with private_key_file is not there yet")
        return SecretClient(self._config.client_id, secret, secret_method(secret, endpoint.auth_methods))
