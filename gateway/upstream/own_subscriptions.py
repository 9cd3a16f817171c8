"""Subscriptions of principals that have a login of their own at an upstream: each over a connection of theirs.

What a principal subscribed to is asked for with its own login, and what comes of it is told to its own listeners and
to nobody else's. The connection is one of those that its calls use, too. While something is subscribed to, it is not
closed for being idle; but it makes room where others need one to call (`private.py`), and is had again later.
"""

from collections.abc import Collection, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import anyio
import structlog

from gateway.errors import GatewayError, LoginNeeded
from gateway.protocol import Era
from gateway.request import Agent
from gateway.upstream.audience import Audience
from gateway.upstream.backoff import Backoff
from gateway.upstream.listen import ListenStreams
from gateway.upstream.subscribe import SubscribeRequests, pacer

if TYPE_CHECKING:
    from gateway.upstream.session import UpstreamSession
    from gateway.upstream.upstream import Upstream

log = structlog.stdlib.get_logger("gateway.upstream")

UPDATED: Final = "notifications/resources/updated"


class OwnSubscriptions:
    """Those of all principals at one upstream."""

    def __init__(self, upstream: "Upstream") -> None:
        self._upstream = upstream
        self._of: dict[str, _PrincipalSubscriptions] = {}
        """By the principal's id."""
        self._by_uri: dict[str, set[str]] = {}
        """Own URI → the ids of the principals that are to hear of it."""

    def start(self) -> None:
        """The upstream runs: what was wanted before that is asked for."""
        for each in self._of.values():
            self._spawn(each)

    async def more(self, agent: Agent, todo: set[str]) -> None:
        """An agent's principal is to hear of these, too: own URIs. What is done is taken out.

        Raises:
            UpstreamError: it refused one of them.
            GatewayError: it could not be told of all of them.
        """
        principal = agent.opener.id
        each = self._of.get(principal)
        if each is None:
            each = self._of[principal] = _PrincipalSubscriptions(self._upstream, agent)
            self._spawn(each)
        for uri in todo:
            each.wanted.add(uri)
            self._by_uri.setdefault(uri, set()).add(principal)
        await each.take_up(todo)

    async def reconcile(self, wanted_by: Mapping[str, Mapping[str, Agent]]) -> None:
        """Have what is wanted of some resources taken up, soon.

        Args:
            wanted_by: own URI → who wants it now: the principal's id, and an agent of its own.
        """
        todo: dict[str, set[str]] = {}
        for uri, wanting in wanted_by.items():
            for principal in self._by_uri.get(uri, set()) - wanting.keys():
                self._discard(principal, uri)
                todo.setdefault(principal, set()).add(uri)
            for principal, agent in wanting.items():
                if principal not in self._of:
                    self._of[principal] = _PrincipalSubscriptions(self._upstream, agent)
                    self._spawn(self._of[principal])
                self._of[principal].wanted.add(uri)
                self._by_uri.setdefault(uri, set()).add(principal)
        async with anyio.create_task_group() as tg:
            for principal, uris in todo.items():
                tg.start_soon(self._leave, principal, uris)

    def clear(self) -> None:
        """Nobody is to hear of anything by a connection of their own."""
        for each in self._of.values():
            each.stop()
        self._of.clear()
        self._by_uri.clear()

    def _spawn(self, each: "_PrincipalSubscriptions") -> None:
        if self._upstream.tasks is not None:
            self._upstream.tasks.start_soon(each.run)

    def _discard(self, principal: str, uri: str) -> None:
        self._by_uri[uri].discard(principal)
        if not self._by_uri[uri]:
            del self._by_uri[uri]
        self._of[principal].wanted.discard(uri)

    async def _leave(self, principal: str, uris: set[str]) -> None:
        each = self._of.get(principal)
        if each is None:
            return
        try:
            if each.is_connected:
                await each.take_up(uris)
        except GatewayError as error:
            log.debug("not unsubscribed", upstream=self._upstream.name, reason=error.message)
        finally:
            if not each.wanted and self._of.get(principal) is each:
                del self._of[principal]
                each.stop()


class _PrincipalSubscriptions:
    """Those of one principal.

    Args:
        agent: one of its agents; the connection is what that one's calls use.
    """

    def __init__(self, upstream: "Upstream", agent: Agent) -> None:
        self.wanted = set[str]()
        self._upstream = upstream
        self._agent = agent
        self._credentials = upstream.links.credentials_of(agent)
        self._asked: SubscribeRequests | ListenStreams | None = None
        """How the connection there is now is asked."""
        self._failure: GatewayError | None = None
        """Why there is none."""
        self._known = set[str]()
        """What an earlier connection was asked for: whatever became of it meanwhile was not heard."""
        self._changed = anyio.Event()
        self._pacer = pacer()
        self._life = anyio.CancelScope()

    @property
    def is_connected(self) -> bool:
        return self._asked is not None

    def stop(self) -> None:
        self._life.cancel()

    async def take_up(self, todo: set[str]) -> None:
        """Have the upstream take up these; takes out what is done.

        Raises:
            GatewayError: it cannot, or would not.
        """
        if self._upstream.tasks is None:
            todo.clear()  # taken up as soon as it runs
            return
        while self._asked is None:
            if self._failure is not None:
                raise self._failure.with_traceback(None)
            await self._changed.wait()
        await self._asked.take_up(todo)

    async def run(self) -> None:
        """Keep a connection, until stopped."""
        backoff = Backoff(self._upstream.timing)
        with self._life:
            while True:
                began = anyio.current_time()
                try:
                    if self._credentials is not None and not self._credentials.headers:
                        await self._credentials.prepare()
                    reason = await self._follow()
                except LoginNeeded as error:
                    self._set(None, error)
                    await self._until_logged_in()
                    reason = None
                except GatewayError as error:
                    reason = error
                self._set(None, reason)
                if reason is not None:
                    await anyio.sleep(backoff.after(anyio.current_time() - began, 1.0))

    # --- Inside -----------------------------------------------------------------------------------------------------

    def _set(self, asked: SubscribeRequests | ListenStreams | None, failure: GatewayError | None) -> None:
        self._asked, self._failure = asked, failure
        self._changed.set()
        self._changed = anyio.Event()

    async def _until_logged_in(self) -> None:
        """Wait for that, and not for ever: see `Link`."""
        changed = anyio.Event()
        forget = self._credentials.follow(changed.set) if self._credentials is not None else _nothing
        try:
            with anyio.move_on_after(self._upstream.timing.login_seconds):
                await changed.wait()
        finally:
            forget()

    async def _follow(self) -> GatewayError | None:
        """As long as one connection is there, and its login. Returns why it is no more; None if its login has ended."""
        patience = self._upstream.config.connect_timeout
        private = await self._upstream.links.own(self._agent, "identity", patience, is_call=False)
        private.hold()
        try:
            try:
                session = await private.link.ready(patience)
            finally:
                private.release()
            return await self._ask(session)
        finally:
            private.let_go()

    async def _ask(self, session: "UpstreamSession") -> GatewayError | None:
        reason: GatewayError | None = None
        missed = self._known & self.wanted
        self._known = set(self.wanted)
        asked: SubscribeRequests | ListenStreams
        async with anyio.create_task_group() as tg:
            tg.start_soon(self._watch_login, tg.cancel_scope)
            if session.era is Era.MODERN:
                asked = ListenStreams(
                    session, self.wanted, {}, self._on_frame, partial(self._on_gap, missed), _nothing, _nothing,
                    self._upstream.timing,
                )  # fmt: skip
                tg.start_soon(asked.run)
            else:
                timeout = self._upstream.config.timeout
                asked = SubscribeRequests(session, self.wanted, self._pacer, timeout)
                tg.start_soon(self._restore, asked, missed)
            self._set(asked, None)
            reason = await session.connection.wait_closed()
            tg.cancel_scope.cancel()
        self._asked = None
        self._known |= self.wanted
        return reason

    async def _watch_login(self, scope: anyio.CancelScope) -> None:
        """Who has logged out hears nothing any more."""
        credentials, changed = self._credentials, anyio.Event()
        if credentials is None:
            return
        forget = credentials.follow(lambda: None if credentials.headers else changed.set())
        try:
            if credentials.headers:
                await changed.wait()
            scope.cancel()
        finally:
            forget()

    async def _restore(self, asked: SubscribeRequests, missed: Collection[str]) -> None:
        for uri in sorted(self.wanted):
            try:
                await asked.reconcile(uri)
            except GatewayError as error:
                log.warning("not restored", upstream=self._upstream.name, reason=error.message)
        self._tell(missed)

    def _on_frame(self, method: str, params: dict[str, Any]) -> None:
        self._upstream.on_message(method, params, Audience(principal=self._agent.opener.id))

    def _on_gap(self, missed: Collection[str], uris: Collection[str], of_lists: bool) -> None:
        self._tell(uri for uri in uris if uri in missed)

    def _tell(self, uris: Iterable[str]) -> None:
        """These may have changed unheard."""
        for uri in list(uris):
            self._on_frame(UPDATED, {"uri": uri})


def _nothing() -> None: ...
