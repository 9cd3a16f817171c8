"""All logins of one gateway: for each server whose credentials to use, and the task that renews them in time."""

import time
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Final

import anyio
import structlog

from gateway.blocking import in_thread
from gateway.config.models import Config, ServerConfig
from gateway.errors import LoginNeeded, StoreUnavailable
from gateway.logins.failures import AuthFailure, NoLogin
from gateway.logins.held import Held
from gateway.logins.subjects import Subjects
from gateway.logins.timing import USUAL, LoginTiming
from gateway.request import ANONYMOUS, Principal

if TYPE_CHECKING:
    from gateway.logins.flow import Flow
    from gateway.logins.grants import TokenGrant, Tokens
    from gateway.logins.links import ConnectLinks
    from gateway.logins.record import Login
    from gateway.logins.vault import Vault

log = structlog.stdlib.get_logger("gateway.logins")

MACHINES: Final = frozenset({"client_credentials", "token_exchange", "enterprise", "workload"})
"""Of `ServerConfig.auth_kind`, those with which nobody logs in."""


NO_PAGE: Final = "whoever runs the gateway can set `gateway.public_url`, so that there is a page to log in on"
"""What to do where principals are to log in for themselves, and there is no address at which they could."""


def keeps_logins(config: Config) -> bool:
    """Whether somebody may have logged in at any of its servers."""
    return any(_kept(server) for server in config.enabled.values())


def _kept(server: ServerConfig) -> bool:
    return server.auth_kind in ("auto", "login") or server.auth.has_logins_otherwise


class Source:
    """`upstream.credentials.CredentialSource` of one server.

    Args:
        make: makes the credentials of a principal; of None, those that all share.
        is_each: whether each principal has their own, where several can be told apart.
        is_open: whether that depends on there being no login that all share.
    """

    def __init__(
        self,
        make: Callable[[Principal | None], Held],
        *,
        is_each: bool = False,
        is_open: bool = False,
    ) -> None:
        self._make = make
        self._is_each = is_each
        self._is_open = is_open
        self._shared = make(None)
        self._held: dict[str, Held] = {}

    @property
    def is_personal(self) -> bool:
        return self._is_each and (self._shared.is_missing or not self._is_open)

    @property
    def has_own_lists(self) -> bool:
        return self._shared.is_kept and self.is_personal

    def of(self, principal: Principal | None) -> Held:
        if principal is None or not self.is_personal:
            return self._shared
        held = self._held.get(principal.id)
        if held is None:
            held = self._held[principal.id] = self._make(principal)
        return held

    @property
    def on_behalf(self) -> list[str]:
        """The ids of those who have what is good only as long as the token that they came with."""
        return [id for id, held in self._held.items() if held.is_on_behalf]

    def drop(self, principals: Collection[str]) -> None:
        """What these had (by id) is good no more."""
        for id in principals:
            if (held := self._held.get(id)) is not None:
                held.drop()

    @property
    def kept(self) -> list[Held]:
        """Those that go by what is in the vault."""
        return [held for held in (self._shared, *self._held.values()) if held.is_kept]

    @property
    def used(self) -> list[Held]:
        """Those of connections that are there; others are forgotten."""
        self._held = {key: held for key, held in self._held.items() if held.is_followed}
        return [held for held in (self._shared, *self._held.values()) if held.is_followed]


class Logins:
    """What `app` makes one of.

    Args:
        vault: opens where logins are kept; asked once, when the first server needs it.
        record: told of each token that was exchanged: for what, and by whom, as `("token exchange", principal, …)`.
    """

    def __init__(
        self,
        config: Config,
        vault: "Callable[[], Vault]",
        record: Callable[..., None] = lambda *args, **fields: None,
        timing: LoginTiming = USUAL,
    ) -> None:
        self._settings = config.gateway
        self.subjects = Subjects()
        """On whose behalf servers can be asked."""
        self._record = record
        self._timing = timing
        self._open_vault = vault
        self._vault: Vault | None = None
        self._sources: dict[str, Source] = {}
        self._seen: object = None
        self._logged_in: dict[str, ServerConfig] = {}
        """Servers at which somebody logs in."""
        self.links: ConnectLinks | None = None
        """To the pages to log in on, once there are any."""
        self.on_logged_out: Callable[[str, str], None] = lambda upstream, root: None
        """Told of a server, and the id of a root principal that has logged out of it by its own wish."""

    @property
    def vault(self) -> "Vault":
        """Where logins are kept. The first time it blocks."""
        if self._vault is None:
            self._vault = self._open_vault()
        return self._vault

    @property
    def flow(self) -> "Flow":
        """Makes logins."""
        from gateway.logins.flow import Flow

        return Flow(self.vault, self._settings.public_url, self._timing)

    def source(self, name: str, server: ServerConfig) -> Source | None:
        """Whose credentials to use with a server that has just been configured so; None if nobody is asked."""
        self._sources.pop(name, None)
        self._logged_in.pop(name, None)
        kind = server.auth_kind
        if kind in MACHINES:
            source = self._source_of_machine(name, server)
        elif kind in ("login", "auto"):
            self._logged_in[name] = server
            source = self._source_of_people(name, server, is_wanted=kind == "login")
        else:
            return None
        self._sources[name] = source
        return source

    def is_each(self, server: ServerConfig) -> bool:
        """Whether each principal logs in to a server for themselves, unless there is a login for all."""
        if not self._settings.auth.enabled or server.isolation == "shared":
            return False
        if server.auth_kind in ("login", "auto"):
            return server.auth.login in ("each", "auto")
        return server.auth.has_logins_otherwise

    def logs_in(self, server: ServerConfig, principal: Principal) -> bool:
        """Whether that is so for this one: who comes with a token that is exchanged need not."""
        return self.is_each(server) and not (server.auth.has_logins_otherwise and principal.method == "oauth")

    async def changed(self, name: str) -> None:
        """Somebody has logged in to a server here, or out."""
        source = self._sources.get(name)
        for held in source.kept if source is not None else ():
            await held.reread()

    def source_of(self, name: str) -> Source | None:
        """What `source` returned last for a server."""
        return self._sources.get(name)

    def end_those_of(self, principals: Collection[str]) -> None:
        """They are no longer let in: what they had here is forgotten, and their connections are closed."""
        self.subjects.forget(principals)
        for source in self._sources.values():
            source.drop(principals)

    async def run(self) -> None:
        """Renew tokens ahead of their end, and see what others log in to, until cancelled."""
        async with anyio.create_task_group() as tg:
            tg.start_soon(self._finish_cut_off)
            while True:
                await anyio.sleep(self._timing.look_seconds)
                now, has_changed = time.time(), await self._has_changed()
                for source in list(self._sources.values()):
                    source.drop([id for id in source.on_behalf if self.subjects.of(id) is None])
                    for held in source.used:
                        if has_changed and held.is_kept:
                            tg.start_soon(held.reread)
                        elif held.claim(now):
                            tg.start_soon(held.renew_ahead)

    # --- Inside -------------------------------------------------------------------------------------------------------

    async def _finish_cut_off(self) -> None:
        """A process died while it renewed logins: they are renewed now, as long as what it used may be used again."""
        if not self._logged_in:
            return
        try:
            vault = await in_thread(lambda: self.vault)
            cut_off = [login for login in await vault.all() if login.renewing]
        except (OSError, StoreUnavailable) as error:
            log.warning("logins cannot be read", reason=str(error))
            return
        async with anyio.create_task_group() as tg:
            for login in cut_off:
                if (server := self._logged_in.get(login.server)) is not None:
                    tg.start_soon(self._finish, login, server)

    async def _finish(self, login: "Login", server: ServerConfig) -> None:
        from gateway.logins.person import PersonGrant
        from gateway.logins.record import LoginKey

        if LoginKey(login.principal, login.server, server.url or "") != login.key:
            return
        try:
            await PersonGrant(self.vault, login.key, server.auth, self._timing, is_wanted=True).finish()
        except AuthFailure as failure:
            log.warning("login not renewed", upstream=login.server, reason=str(failure))

    async def _has_changed(self) -> bool:
        """Whether any login in the vault is another than it was."""
        if self._vault is None:
            return False
        try:
            seen = await self._vault.signature()
        except (OSError, StoreUnavailable):
            return False
        before, self._seen = self._seen, seen
        return seen != before

    def _source_of_machine(self, name: str, server: ServerConfig) -> Source:
        is_on_behalf = server.auth.is_on_behalf
        self.subjects.wanted |= is_on_behalf

        def make(principal: Principal | None) -> Held:
            if principal is not None and principal.method != "oauth" and server.auth.has_logins_otherwise:
                return self._held_by_person(name, server, principal, is_wanted=True)
            held = self._held(name, server, principal, _Later(lambda: self._machine(name, server, principal)))
            held.is_on_behalf = is_on_behalf and principal is not None
            return held

        return Source(make, is_each=is_on_behalf)

    def _source_of_people(self, name: str, server: ServerConfig, *, is_wanted: bool) -> Source:
        def make(principal: Principal | None) -> Held:
            return self._held_by_person(name, server, principal, is_wanted=is_wanted)

        return Source(make, is_each=self.is_each(server), is_open=server.auth.login == "auto")

    def _held_by_person(self, name: str, server: ServerConfig, principal: Principal | None, *, is_wanted: bool) -> Held:
        grant = _Later(lambda: self._person(name, server, principal, is_wanted=is_wanted))
        held = self._held(name, server, principal, grant, is_optional=not is_wanted)
        held.is_kept = True
        return held

    def _held(
        self,
        name: str,
        server: ServerConfig,
        principal: Principal | None,
        grant: "TokenGrant",
        *,
        is_optional: bool = False,
    ) -> Held:
        def needs(failure: NoLogin) -> LoginNeeded:
            return self._needed(name, server, principal, failure)

        return Held(name, grant, needs, timing=self._timing, is_optional=is_optional)

    def _needed(self, name: str, server: ServerConfig, principal: Principal | None, failure: NoLogin) -> LoginNeeded:
        """What to tell who has to wait until somebody has logged in."""
        is_each, link = self.is_each(server), None
        if self.links is None or (self.links.is_desk and server.auth.callback_port is not None):
            pass  # there is no address, or another is agreed upon
        elif is_each or not self._settings.auth.enabled:
            link = self.links.to(name, principal if is_each else ANONYMOUS, failure.scopes)
        if is_each and (link is not None or server.auth_kind != "auto"):
            return LoginNeeded(name, str(failure), link=link, scopes=failure.scopes, otherwise=NO_PAGE)
        command = f"mcp-gateway login {name}" + "".join(f" --scope {scope}" for scope in failure.scopes)
        return LoginNeeded(name, str(failure), command=command, link=link, scopes=failure.scopes)

    def _person(self, name: str, server: ServerConfig, principal: Principal | None, *, is_wanted: bool) -> "TokenGrant":
        from gateway.logins.person import PersonGrant
        from gateway.logins.record import SHARED, LoginKey

        key = LoginKey(principal.root_id if principal is not None else SHARED, name, server.url or "")
        return PersonGrant(self.vault, key, server.auth, self._timing, is_wanted=is_wanted)

    def _machine(self, name: str, server: ServerConfig, principal: Principal | None) -> "TokenGrant":
        from gateway.logins.machines_of import machine_grant

        def record(whose: Principal | None, what: Mapping[str, str]) -> None:
            self._record("token exchange", whose, upstream=name, **what)

        oauth = self._settings.auth.oauth if self._settings.auth.enabled else None
        return machine_grant(server, principal, self.subjects, oauth.issuer if oauth is not None else None, record)


class _Later:
    """A `TokenGrant`, made beside the loop when it is first needed: what goes out takes a library that takes time to
    import, and the vault is a file."""

    def __init__(self, make: "Callable[[], TokenGrant]") -> None:
        self._make = make
        self._grant: TokenGrant | None = None

    async def _made(self) -> "TokenGrant":
        if self._grant is None:
            self._grant = await in_thread(self._make)
        return self._grant

    async def known(self) -> "Tokens | None":
        return await (await self._made()).known()

    async def obtain(self, refused: "Tokens | None", scopes: Collection[str], header: str) -> "Tokens | None":
        return await (await self._made()).obtain(refused, scopes, header)
