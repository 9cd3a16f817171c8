"""Logins that principals make for themselves in a browser: from the moment they have proved who they are, to the end.

What lies between the two halves of a login stands in the store, so that it may end at another node than it began at.
It is found by its state, is good once, and only for the browser that began it. `rest.connect` has the pages.
"""

import hashlib
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

import msgspec

from gateway.config.models import ServerConfig
from gateway.errors import StoreUnavailable
from gateway.logins.document import CALLBACK_PATH
from gateway.logins.failures import AuthFailure, Distrusted, Unreachable
from gateway.logins.flow import PENDING_SECONDS, PendingLogin, revoke
from gateway.logins.logins import Logins
from gateway.logins.record import SHARED, Login, LoginKey
from gateway.request import ADMIN, ANONYMOUS, Principal
from gateway.store.shared import Store
from gateway.store.table import BACKGROUND_SECONDS

_KEY: Final = "login:begun:"
_ID_DIGITS: Final = 16


class CannotConnect(Exception):
    """Somebody cannot log in here. The message is for them.

    Args:
        status: of HTTP.
    """

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


class _BegunLogin(msgspec.Struct, frozen=True):
    pending: PendingLogin
    by: str
    """The id of the principal that proved itself."""
    browser: str
    """A digest of what only the browser knows that began it."""


@dataclass(frozen=True, slots=True)
class Onward:
    """Where a browser goes on, and what it has to show when it comes back."""

    link: str = field(repr=False)
    issuer: str
    id: str
    """Names what it has to show; the same for the same login."""
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Connection:
    """A server where a principal has, or could have, a login of their own."""

    server: str
    login: Login | None
    link: str | None
    counts: bool = True
    """Whether it is that login which is used, and not one for all."""


class Connecting:
    """
    Args:
        servers: those configured now.
        may_use: whether somebody may use anything of a server.
        record: told of logins that were made and ended, as `(what, principal, upstream=…)`.
        callback: the path that browsers come back to.
        asks_key: whether principals show who they are. If not, only a link that the gateway made is good for anything.
    """

    def __init__(
        self,
        logins: Logins,
        store: Store,
        servers: Callable[[], Mapping[str, ServerConfig]],
        may_use: Callable[[Principal, str], bool],
        record: Callable[..., None],
        *,
        callback: str = CALLBACK_PATH,
        asks_key: bool = True,
    ) -> None:
        self.callback = callback
        self.asks_key = asks_key
        self._logins = logins
        self._store = store
        self._servers = servers
        self._may_use = may_use
        self._record = record

    async def begin(self, name: str, principal: Principal, mark: str, scope: str) -> Onward:
        """A principal that has proved who it is wants to log in.

        Args:
            mark, scope: of the link that it came by; empty if it had none.

        Raises:
            CannotConnect: it cannot be.
        """
        links = self._logins.links
        if links is None or links.address is None:
            raise CannotConnect("This gateway has no address to come back to: set `gateway.public_url`.", 404)
        if not mark and not self.asks_key:
            raise CannotConnect("Open the link that the gateway gives, with all that stands in it.", 403)
        if mark and not links.is_for(mark, name, principal, scope):
            raise CannotConnect(
                "This link was made for somebody else, or was changed on the way. Nobody was logged in. If a stranger "
                "sent it to you, ask yourself why.",
                403,
            )
        server, key = self._place(name, principal)
        owner = principal.owner or principal.id
        scopes = scope.split() if mark else []
        try:
            back = f"{links.address}{self.callback}"
            begun = await self._logins.flow.begin(key, owner, server.auth, back, scopes=scopes)
        except AuthFailure as failure:
            raise _cannot(failure) from None
        except (OSError, StoreUnavailable) as error:
            raise CannotConnect(f"The login cannot be kept: {error}.", 503) from None
        pending, secret = begun.pending, secrets.token_urlsafe(32)
        kept = msgspec.json.encode(_BegunLogin(pending, principal.id, _digest(secret)))
        await self._keep(pending.state, kept)
        return Onward(begun.link, pending.issuer, _id(pending.state), secret)

    def begun(self, state: str) -> str:
        """`Onward.id` of the login that has this state."""
        return _id(state)

    async def finish(self, query: Mapping[str, str], secret: str) -> Login:
        """A browser came back.

        Args:
            query: what it came back with.
            secret: what it has to show; empty if it has nothing.

        Raises:
            CannotConnect: nobody is logged in.
        """
        key = f"{_KEY}{_digest(query.get('state', ''))}"
        try:
            kept = await self._store.get(key, patience=BACKGROUND_SECONDS)
            begun = msgspec.json.decode(kept, type=_BegunLogin) if kept is not None else None
            if begun is None:
                raise CannotConnect("There is no such login: it was used already, took too long, or is not ours.")
            if not secret or not secrets.compare_digest(_digest(secret), begun.browser):
                raise CannotConnect(
                    "This login was begun in another browser, and can only end there. Nobody was logged in.", 403
                )
            if not await self._store.delete(key, patience=BACKGROUND_SECONDS):
                raise CannotConnect("This login was used already.")
        except StoreUnavailable as error:
            raise CannotConnect(error.message, 503) from None
        return await self._complete(begun, query)

    async def connections(self, principal: Principal) -> list[Connection]:
        """Where somebody logs in for themselves, and whether they have.

        Raises:
            OSError, StoreUnavailable: what is kept cannot be read.
        """
        found: list[Connection] = []
        links = self._logins.links
        for name, server in self._servers().items():
            if self._logins.logs_in(server, principal) and self._may_use(principal, name):
                login = await self._logins.vault.get(LoginKey(principal.root_id, name, server.url or ""))
                link, source = links.to(name, principal) if links is not None else None, self._logins.source_of(name)
                found.append(Connection(name, login, link, source is not None and source.is_personal))
        return found

    async def end(self, name: str, principal: Principal) -> bool | None:
        """Log somebody out of a server. Returns whether its authorization server was told; None if they are not
        logged in.

        Raises:
            OSError, StoreUnavailable, TimeoutError: what is kept cannot be changed.
        """
        server = self._servers().get(name)
        if server is None or not self._is_own(name, server):
            return None
        key = LoginKey(principal.root_id, name, server.url or "")
        vault = self._logins.vault
        async with vault.turn(key.name):
            login = await vault.get(key)
            if login is None:
                return None
            await vault.drop(key)
        await self._logins.changed(name)
        self._logins.on_logged_out(name, principal.root_id)
        self._record("logged out", principal, upstream=name, issuer=login.issuer)
        return await revoke(login, server.auth)

    # --- Inside -------------------------------------------------------------------------------------------------------

    def _place(self, name: str, principal: Principal) -> tuple[ServerConfig, LoginKey]:
        """Where a principal may log in, and whose login that is then.

        Raises:
            CannotConnect: nowhere. What they may not use looks like what is not there.
        """
        server = self._servers().get(name)
        if server is None or not self._may_use(principal, name):
            raise CannotConnect(f"There is no server {name!r} here that you may use.", 404)
        if self._is_own(name, server):
            return server, LoginKey(principal.root_id, name, server.url or "")
        if server.auth_kind not in ("auto", "login"):
            raise CannotConnect(f"Nobody has to log in to {name!r}: the gateway does so by itself.", 404)
        if principal.id != ANONYMOUS.id and (ADMIN not in principal.scopes or principal.method == "agent_token"):
            raise CannotConnect(f"The login to {name!r} is for all; it takes somebody with the scope `admin`.", 403)
        return server, LoginKey(SHARED, name, server.url or "")

    def _is_own(self, name: str, server: ServerConfig) -> bool:
        return self._logins.is_each(server)

    async def _keep(self, state: str, kept: bytes) -> None:
        try:
            await self._store.set(f"{_KEY}{_digest(state)}", kept, PENDING_SECONDS, patience=BACKGROUND_SECONDS)
        except StoreUnavailable as error:
            raise CannotConnect(error.message, 503) from None

    async def _complete(self, begun: _BegunLogin, query: Mapping[str, str]) -> Login:
        pending = begun.pending
        server = self._servers().get(pending.server)
        if server is None or server.url != pending.url:
            raise CannotConnect(f"The server {pending.server!r} is another by now. Begin again.")
        try:
            login = await self._logins.flow.complete(pending, query, server.auth)
        except AuthFailure as failure:
            raise _cannot(failure) from None
        except (OSError, TimeoutError, StoreUnavailable) as error:
            raise CannotConnect(f"The login cannot be kept: {error}.", 503) from None
        await self._logins.changed(pending.server)
        self._record("logged in", None, upstream=pending.server, issuer=login.issuer, whose=begun.by)
        return login


def _cannot(failure: AuthFailure) -> CannotConnect:
    text = str(failure)
    status = 502 if isinstance(failure, Unreachable | Distrusted) else 400
    return CannotConnect(f"{text[:1].upper()}{text[1:]}.", status)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _id(state: str) -> str:
    return _digest(f"cookie\0{state}")[:_ID_DIGITS]
