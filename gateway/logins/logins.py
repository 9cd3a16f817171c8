"""All logins of one gateway: for each server whose credentials to use, and the task that renews them in time."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import anyio

from gateway.config.models import Config, ServerConfig
from gateway.errors import LoginNeeded
from gateway.logins.failures import NoLogin
from gateway.logins.held import Held
from gateway.request import Principal

if TYPE_CHECKING:
    from gateway.logins.grants import Grant
    from gateway.logins.web import Web

# What goes out takes a library that takes time to import: it is imported when the first server needs it.

LOOK_SECONDS: Final = 1.0
"""How often it is looked whether tokens are about to end."""


class Source:
    """`upstream.credentials.CredentialSource` of one server.

    Args:
        held: makes the credentials of a principal; of None, those that all share.
        is_personal: whether each principal has their own.
    """

    def __init__(self, held: Callable[[Principal | None], Held | None], is_personal: Callable[[], bool]) -> None:
        self._make = held
        self._is_personal = is_personal
        self._held: dict[str, Held] = {}

    @property
    def is_personal(self) -> bool:
        return self._is_personal()

    def of(self, principal: Principal | None) -> Held | None:
        key = principal.id if principal is not None and self.is_personal else ""
        held = self._held.get(key)
        if held is None:
            made = self._make(principal if self.is_personal else None)
            if made is None:
                return None
            held = self._held[key] = made
        return held

    @property
    def used(self) -> list[Held]:
        """Those of connections that are there; others are forgotten."""
        self._held = {key: held for key, held in self._held.items() if held.is_followed or not key}
        return [held for held in self._held.values() if held.is_followed]


class Logins:
    """What `app` makes one of."""

    def __init__(self, config: Config) -> None:
        self._settings = config.gateway
        self._sources: dict[str, Source] = {}

    def source(self, name: str, server: ServerConfig) -> Source | None:
        """Whose credentials to use with a server that has just been configured so; None if nobody is asked."""
        self._sources.pop(name, None)
        if server.auth_kind == "client_credentials":
            source = self._sources[name] = Source(lambda _: self._held(name, server), lambda: False)
            return source
        return None

    async def run(self) -> None:
        """Renew tokens ahead of their end, until cancelled."""
        async with anyio.create_task_group() as tg:
            while True:
                await anyio.sleep(LOOK_SECONDS)
                now = time.time()
                for source in list(self._sources.values()):
                    for held in source.used:
                        if held.claim(now):
                            tg.start_soon(held.renew_ahead)

    # --- Inside -------------------------------------------------------------------------------------------------------

    def _held(self, name: str, server: ServerConfig) -> Held:
        def needs(failure: NoLogin) -> LoginNeeded:
            command = f"mcp-gateway login {name}"
            return LoginNeeded(name, str(failure), command=command, scopes=failure.scopes)

        return Held(name, self._grant_for(server), needs)

    def _grant_for(self, server: ServerConfig) -> "Grant":
        from gateway.logins.machines import ClientCredentialsGrant, Where

        auth, url = server.auth, server.url or ""
        assert auth.client_credentials is not None
        config = auth.client_credentials
        web = _web(url, config.issuer, config.token_endpoint)
        return ClientCredentialsGrant(config, Where(web, url, config.issuer, config.token_endpoint))


def _web(*urls: str | None) -> "Web":
    """What may go where the file leads, and to public hosts."""
    from gateway.logins.web import Web

    return Web.for_urls([url for url in urls if url])
