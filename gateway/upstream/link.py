"""One supervised connection to an upstream: connect, negotiate, serve, reconnect, close, all in one owner task.

Callers never touch a transport. They ask for the session, or wait for it; when it breaks, their call fails, and the
owner alone mends it.
"""

import random
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

import anyio

from gateway.errors import GatewayError, LoginNeeded, UpstreamLost, UpstreamUnavailable
from gateway.upstream.backoff import Backoff
from gateway.upstream.breaker import Breaker
from gateway.upstream.connect import Connector
from gateway.upstream.timing import USUAL, UpstreamTiming
from gateway.upstream.transport.pending import HttpRefusal, HungUp, LoginLost, SessionLost
from gateway.upstream.transport.process import SpawnError

if TYPE_CHECKING:
    from gateway.upstream.session import Negotiated, UpstreamSession


class State(Enum):
    """What a user can see of a connection."""

    STARTING = "starting"
    READY = "ready"
    DEGRADED = "degraded"
    BACKING_OFF = "backing off"
    STOPPED = "stopped"
    OUT_OF_ORDER = "out of order"
    """It lacks something that only whoever runs the gateway can give it. It is never connected to."""
    LOGIN_NEEDED = "login needed"
    """Somebody has to log in there first. It is connected to as soon as they have."""


TROUBLED: Final = frozenset({State.BACKING_OFF, State.DEGRADED, State.OUT_OF_ORDER, State.LOGIN_NEEDED})
"""Those whose reason is worth telling."""


@dataclass(frozen=True, slots=True)
class Status:
    """A state, why, and what comes next."""

    state: State
    reason: str = ""
    next_try: float | None = None
    """When the next attempt is made, in the event loop's time."""


class _Rested(HungUp):
    """It was disconnected because nobody needs it."""


@dataclass(frozen=True, slots=True)
class _Ended:
    """How a connection ended."""

    error: BaseException
    lived: float
    """Seconds it was up."""


class Link:
    """A connection that is kept up.

    Args:
        connector: opens it.
        serve: runs while the connection is up; may use the session.
        on_status: told of every change of state.
        lazy: connect only once somebody needs it.
        breaker: its own, where one client has it to itself; else the upstream's is all there is.
        out_of_order: why it is never to be connected, if it is not.
        on_refusal: told what stood in the body of a refusal that was no JSON-RPC.
    """

    def __init__(
        self,
        connector: Connector,
        serve: Callable[["UpstreamSession", "Negotiated"], Coroutine[Any, Any, None]],
        on_status: Callable[[Status], None],
        *,
        lazy: bool = False,
        breaker: Breaker | None = None,
        out_of_order: str = "",
        on_refusal: Callable[[str], None] = lambda text: None,
        timing: UpstreamTiming = USUAL,
    ) -> None:
        self.upstream = connector.upstream
        self.breaker = breaker
        self.session: UpstreamSession | None = None
        """The session while it is up. The hot path reads it and little else."""
        self.called = False
        """Whether anybody ever needed it, other than to learn what the upstream offers."""
        self.on_end: Callable[[], None] = lambda: None
        """Called when it has ended for good."""
        self._connector = connector
        self._serve = serve
        self._on_status = on_status
        self._wanted = not lazy
        self._out_of_order = out_of_order
        self._on_refusal = on_refusal
        self._timing = timing
        self._login: LoginNeeded | None = None
        self._logins = 0
        """How often there were other credentials."""
        self._status = Status(State.STOPPED, "it starts with the first call" if lazy else "")
        self._changed = anyio.Event()
        self._wake = anyio.Event()
        self._life = anyio.CancelScope()

    @property
    def status(self) -> Status:
        return self._status

    async def run(self) -> None:
        """The owner task. Ends by cancellation or `stop`; leaves nothing behind."""
        backoff, renewed_at, is_again = Backoff(self._timing), float("-inf"), False
        try:
            with self._life:
                if self._out_of_order:
                    self._set(Status(State.OUT_OF_ORDER, self._out_of_order))
                    await anyio.sleep_forever()
                while True:
                    await self._until_wanted()
                    self._set(Status(State.STARTING))
                    logins = self._logins
                    ended = await self._live()
                    if isinstance(needed := _cause(ended.error), LoginNeeded):
                        is_again = not is_again and logins != self._logins  # somebody logged in just then
                        if not is_again:
                            await self._until_logged_in(needed)
                        continue
                    is_again = False
                    is_soon = isinstance(ended.error, SessionLost | LoginLost)
                    if is_soon and anyio.current_time() - renewed_at >= self._timing.renew_seconds:
                        renewed_at = anyio.current_time()  # it is there, it only forgot us
                    elif not isinstance(ended.error, _Rested):
                        delay = backoff.after(ended.lived, random.random())  # noqa: S311 - jitter is no secret
                        reason = reason_of(ended.error, self.upstream)
                        if isinstance(cause := _cause(ended.error), HttpRefusal) and cause.text:
                            self._on_refusal(cause.text)
                        self._set(Status(State.BACKING_OFF, reason, anyio.current_time() + delay))
                        with anyio.move_on_after(delay):
                            await self._wake.wait()
        finally:
            self.session = None
            self._set(Status(State.STOPPED))
            self.on_end()

    def wake(self) -> None:
        """Connect now, whatever the back-off says (an operator asked for it)."""
        self._wanted = True
        self._wake.set()
        self._wake = anyio.Event()

    def on_login(self) -> None:
        """There are other credentials than there were."""
        self._logins += 1
        if self._status.state is State.LOGIN_NEEDED:
            self._set(Status(State.STARTING))  # at once: who asks now waits for it, and is not refused
            self.wake()

    def rest(self, reason: str) -> None:
        """Disconnect until somebody needs it again."""
        self._wanted = False
        self.drop(_Rested(self.upstream, reason))

    def stop(self) -> None:
        """Disconnect for good: `run` ends."""
        self._life.cancel()

    def drop(self, reason: GatewayError) -> None:
        """Give the present connection up."""
        if self.session is not None:
            self.session.connection.close(reason)

    async def ready(self, patience: float, *, after: "UpstreamSession | None" = None) -> "UpstreamSession":
        """The session, waiting for it if it is just being made.

        Args:
            patience: seconds to wait at most.
            after: a session known to be dead, which is not to be returned again.

        Raises:
            UpstreamUnavailable: there is none, and none is about to be.
        """
        if not self._wanted:
            self.wake()
        with anyio.move_on_after(patience):
            while True:
                session = self.current()
                if session is not None and session is not after:
                    return session
                if self._is_far_off():
                    break
                await self._changed.wait()
        raise self.unavailable()

    def check(self) -> None:
        """
        Raises:
            UpstreamUnavailable: there is no session, and none is about to be.
        """
        if self.current() is None and self._is_far_off():
            raise self.unavailable()

    def current(self) -> "UpstreamSession | None":
        """The session, if it is up."""
        self.called = True
        session = self.session
        return session if session is not None and session.connection.closed is None else None

    def degrade(self, reason: str) -> None:
        """It is up, but not all of it works; an empty reason says that all of it does."""
        if self.session is not None:
            self._set(Status(State.DEGRADED, reason) if reason else Status(State.READY))

    @property
    def can_be_logged_in(self) -> bool:
        """Whether somebody has to log in first, and there is a page to do so."""
        return self._status.state is State.LOGIN_NEEDED and self._login is not None and self._login.link is not None

    def unavailable(self) -> UpstreamUnavailable:
        """Why nothing can be had of it now."""
        if self._status.state is State.LOGIN_NEEDED and self._login is not None:
            return self._login.again()
        next_try = self._status.next_try
        wait = max(0.0, next_try - anyio.current_time()) if next_try is not None else None
        return UpstreamUnavailable(self.upstream, self._status.state.value, self._status.reason, wait)

    # --- Inside -----------------------------------------------------------------------------------------------------

    def _is_far_off(self) -> bool:
        """Whether the next attempt is too far off to be waited for."""
        if self._out_of_order or self._status.state is State.LOGIN_NEEDED:
            return True
        return (self._status.next_try or 0.0) > anyio.current_time() + self._timing.soon_seconds

    async def _until_logged_in(self, needed: LoginNeeded) -> None:
        """Wait for that, and not for ever: that somebody has may be known only to who asks."""
        self._login = needed
        self._set(Status(State.LOGIN_NEEDED, f"{needed.reason}; {needed.way}"))
        with anyio.move_on_after(self._timing.login_seconds):
            await self._wake.wait()

    async def _until_wanted(self) -> None:
        while not self._wanted:
            self._set(Status(State.STOPPED, "it starts with the first call"))
            await self._wake.wait()

    async def _live(self) -> "_Ended":
        """One connection from beginning to end."""
        ready_at: float | None = None
        error: BaseException = UpstreamLost(self.upstream, "it ended")
        try:
            async with self._connector.connected() as (session, agreed):
                ready_at = anyio.current_time()
                self.session = session
                self._set(Status(State.READY))
                async with anyio.create_task_group() as tg:
                    tg.start_soon(self._serve, session, agreed)
                    error = await session.connection.wait_closed()
                    self.session = None
                    tg.cancel_scope.cancel()
        except Exception as failure:
            error = failure
        finally:
            self.session = None
        return _Ended(error, anyio.current_time() - ready_at if ready_at is not None else 0.0)

    def _set(self, status: Status) -> None:
        if status != self._status:
            self._status = status
            self._changed.set()
            self._changed = anyio.Event()
            self._on_status(status)


def _cause(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
    return error  # pyright: ignore[reportUnknownVariableType]


def reason_of(error: BaseException, upstream: str) -> str:
    """What went wrong, in words that may follow the upstream's name; what to do about it is left to who it befell."""
    error = _cause(error)
    if isinstance(error, GatewayError):
        name = f"Upstream {upstream!r} "
        if error.message.startswith(name):
            return f"it {error.message.removeprefix(name).partition('. ')[0].removesuffix('.')}"
        return error.message.removesuffix(".")
    if isinstance(error, SpawnError):
        return str(error)
    return f"{type(error).__name__}: {error}"  # pyright: ignore[reportUnknownArgumentType]
