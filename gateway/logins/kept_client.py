"""The registration that the gateway's own pages log in with: made once for an authorization server, kept, and made anew
when that has forgotten it.

A browser that is sent to an authorization server as a client which that does not know ends there, and nobody comes back
to say so. So a registration that is kept is tried before: with a code that nobody was given, at the token endpoint,
which sees to the client first (RFC 6749, 3.2.1). At most once a minute, whoever logs in, and by one at a time.
"""

import hashlib
import secrets
import time

import msgspec
import structlog

from gateway.errors import StoreUnavailable
from gateway.harmless import clipped, harmless
from gateway.logins import registration, token_request
from gateway.logins.client_origin import REFUSED
from gateway.logins.discovery import AuthorizationServer
from gateway.logins.failures import Denied, Distrusted, Unreachable
from gateway.logins.record import RegisteredClient
from gateway.logins.timing import USUAL, LoginTiming
from gateway.logins.vault import Vault
from gateway.logins.web import Web

log = structlog.stdlib.get_logger("gateway.logins")


async def kept(
    vault: Vault,
    web: Web,
    server: AuthorizationServer,
    redirect_uri: str,
    scopes: list[str],
    timing: LoginTiming = USUAL,
) -> RegisteredClient:
    """The one to log in with.

    Raises:
        AuthFailure: there is none, and none can be made.
        TimeoutError: somebody else has been at it for too long.
    """
    name = _name(server.issuer, redirect_uri)
    async with vault.turn(name):
        client, now = await vault.client(name), time.time()
        if client is not None and now < client.looked + timing.registered_seconds:
            return client
        if client is None:
            client = await registration.register(web, server, redirect_uri, scopes)
        elif await _is_forgotten(web, server, client, redirect_uri):
            log.warning(
                "a registration was forgotten, and is made anew", issuer=server.issuer, client_id=_shown(client)
            )
            client = await registration.register(web, server, redirect_uri, scopes)
        client = msgspec.structs.replace(client, looked=now)
        await vault.put_client(name, client)
    return client


async def forget(vault: Vault, issuer: str, redirect_uri: str, client: RegisteredClient) -> None:
    """An authorization server does not know a client. If it is kept, it is not any more."""
    name = _name(issuer, redirect_uri)
    try:
        async with vault.turn(name):
            known = await vault.client(name)
            if known is not None and known.id == client.id:
                await vault.drop_client(name)
                log.warning("a registration was forgotten, and is dropped", issuer=issuer, client_id=_shown(client))
    except (OSError, StoreUnavailable) as error:
        log.warning("a registration that was forgotten is still kept", issuer=issuer, reason=str(error))


async def _is_forgotten(web: Web, server: AuthorizationServer, client: RegisteredClient, redirect_uri: str) -> bool:
    """Whether it says that it does not know the client. Whatever else it says, or that it does not, means nothing."""
    form = {
        "grant_type": "authorization_code",
        "code": secrets.token_urlsafe(16),
        "redirect_uri": redirect_uri,
        "code_verifier": secrets.token_urlsafe(64),
    }
    try:
        await token_request.request(web, server.token_endpoint, server.issuer, form, client.client)
    except Denied as denial:
        return denial.code in REFUSED
    except (Distrusted, Unreachable):
        pass
    return False


def _shown(client: RegisteredClient) -> str:
    return clipped(harmless(client.id))


def _name(issuer: str, redirect_uri: str) -> str:
    return hashlib.sha256(f"{issuer}\0{redirect_uri}".encode()).hexdigest()[:32]
