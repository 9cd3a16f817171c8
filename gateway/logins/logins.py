"""All logins of one gateway: for each server whose credentials to use, and the task that renews them in time."""

import time
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Final

import anyio

from gateway.config.models import Config, ServerConfig
from gateway.errors import LoginNeeded
from gateway.logins.failures import NoLogin
from gateway.logins.held import Held
from gateway.logins.subjects import Subjects
from gateway.request import Principal

if TYPE_CHECKING:
    from gateway.logins.grants import Grant

# What goes out takes a library that takes time to import: it is imported when the first server needs it.

MACHINES: Final = frozenset({"client_credentials", "token_exchange", "enterprise", "workload"})
"""Of `ServerConfig.auth_kind`, those with which nobody logs in."""
LOOK_SECONDS: Final = 1.0
"""How often it is looked whether tokens are about to end."""


class Source:
    """`upstream.credentials.CredentialSource` of one server.

    Args:
        held: makes the credentials of a principal; of None, those that all share.
        is_personal: whether each principal has their own.
    """

    def __init__(self, held: Callable[[Principal | None], Held | None], is_personal: Callable[[], bool]) -> None:
        self.is_on_behalf = False
        """Whether what principals have is good only as long as the token that they came with."""
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
    def principals(self) -> list[str]:
        """The ids of those who have their own."""
        return [key for key in self._held if key]

    def drop(self, principals: Collection[str]) -> None:
        """What these had (by id) is good no more."""
        for id in principals:
            if (held := self._held.get(id)) is not None:
                held.drop()

    @property
    def used(self) -> list[Held]:
        """Those of connections that are there; others are forgotten."""
        self._held = {key: held for key, held in self._held.items() if held.is_followed or not key}
        return [held for held in self._held.values() if held.is_followed]


class Logins:
    """What `app` makes one of.

    Args:
        record: told of each token that was exchanged: for what, and by whom, as `("token exchange", principal, …)`.
    """

    def __init__(self, config: Config, record: Callable[..., None] = lambda *args, **fields: None) -> None:
        self._settings = config.gateway
        self.subjects = Subjects()
        """On whose behalf servers can be asked."""
        self._record = record
        self._sources: dict[str, Source] = {}

    def source(self, name: str, server: ServerConfig) -> Source | None:
        """Whose credentials to use with a server that has just been configured so; None if nobody is asked."""
        self._sources.pop(name, None)
        if server.auth_kind in MACHINES:
            is_on_behalf = server.auth.is_on_behalf
            self.subjects.wanted |= is_on_behalf
            source = Source(lambda principal: self._held(name, server, principal), lambda: is_on_behalf)
            source.is_on_behalf = is_on_behalf
            self._sources[name] = source
            return source
        return None

    def source_of(self, name: str) -> Source | None:
        """What `source` returned last for a server."""
        return self._sources.get(name)

    def end_those_of(self, principals: Collection[str]) -> None:
        """They are no longer let in: what they had here is forgotten, and their connections are closed."""
        self.subjects.forget(principals)
        for source in self._sources.values():
            source.drop(principals)

    async def run(self) -> None:
        """Renew tokens ahead of their end, until cancelled."""
        async with anyio.create_task_group() as tg:
            while True:
                await anyio.sleep(LOOK_SECONDS)
                now = time.time()
                for source in list(self._sources.values()):
                    if source.is_on_behalf:
                        source.drop([id for id in source.principals if self.subjects.of(id) is None])
                    for held in source.used:
                        if held.claim(now):
                            tg.start_soon(held.renew_ahead)

    # --- Inside -------------------------------------------------------------------------------------------------------

    def _held(self, name: str, server: ServerConfig, principal: Principal | None) -> Held:
        def needs(failure: NoLogin) -> LoginNeeded:
            command = f"mcp-gateway login {name}"
            return LoginNeeded(name, str(failure), command=command, scopes=failure.scopes)

        return Held(name, self._grant_for(name, server, principal), needs)

    def _grant_for(self, name: str, server: ServerConfig, principal: Principal | None) -> "Grant":
        from gateway.logins.machines_of import machine_grant

        def record(whose: Principal | None, what: Mapping[str, str]) -> None:
            self._record("token exchange", whose, upstream=name, **what)

        oauth = self._settings.auth.oauth if self._settings.auth.enabled else None
        return machine_grant(server, principal, self.subjects, oauth.issuer if oauth is not None else None, record)
