"""One request in flight on one connection, and who hears what belongs to no request."""

import asyncio
import math
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, Protocol

import anyio
import msgspec

from gateway.call import NO_HEADERS
from gateway.errors import UpstreamError, UpstreamLost, UpstreamProtocolError, UpstreamTimeout
from gateway.jsonrpc import RequestId
from gateway.protocol import INTERNAL_ERROR
from gateway.request import Agent, Notify
from gateway.upstream.audience import Audience
from gateway.upstream.fair import ALL
from gateway.upstream.transport.deadlines import Deadlines

if TYPE_CHECKING:
    from mcp.shared.dispatcher import CallOptions as SdkCallOptions

    from gateway.call import Call

    class CallOptions(SdkCallOptions, total=False):
        """The SDK's options, and what the gateway's own requests need besides. All optional."""

        on_notification: Notify
        """Hears the notifications that belong to this request: its listen frames."""

else:
    CallOptions = dict[str, Any]


UNABLE: Final = frozenset({502, 503, 504})
"""HTTP statuses that say of the upstream, not of the request, that it does not work now."""


class SessionLost(UpstreamLost):
    """The upstream no longer knows our session. The request was refused, not acted on, unless `delivered`: then that is
    not certain."""

    retryable = False  # `pipeline` has done so already, on another session

    def __init__(self, upstream: str, *, delivered: bool = False) -> None:
        super().__init__(upstream, "it no longer knows this session", delivered=delivered)


class HungUp(UpstreamLost):
    """We have hung up: the upstream is not to blame."""

    retryable = counts_for_breaker = False


class LoginLost(HungUp):
    """We have hung up, because the upstream takes nothing of what we could prove ourselves with."""

    def __init__(self, upstream: str) -> None:
        super().__init__(upstream, "its login is not good any more")


class HttpRefusal(UpstreamProtocolError):
    """An HTTP error status with no JSON-RPC error in its body.

    Args:
        text: what its body says, clipped; not shown to agents.
    """

    def __init__(self, upstream: str, status: int, hint: str = "", text: str = "") -> None:
        super().__init__(upstream, f"HTTP status {status}{hint}")
        self.status = status
        self.text = text
        self.retryable = status in UNABLE
        self.is_answer = status < 500
        self.counts_for_breaker = not self.is_answer


class RefusedError(UpstreamError):
    """An HTTP error status with a JSON-RPC error in its body: the upstream's own, passed through as it is."""

    def __init__(self, status: int, code: int, message: str, data: Any) -> None:
        super().__init__(code, message, data)
        self.status = status
        self.retryable = self.counts_for_breaker = status in UNABLE
        self.is_answer = not self.retryable  # an error of the request's own often comes with a 500


class ApiUnable(UpstreamError):
    """An HTTP API says that it does not work now, or not through this proxy.

    Args:
        result: what the agent gets if that stays so: the API's own words.
    """

    retryable = counts_for_breaker = True
    is_answer = False

    def __init__(self, status: int, result: dict[str, Any]) -> None:
        super().__init__(INTERNAL_ERROR, f"HTTP status {status}")
        self.result = result


class MessageHandler(Protocol):
    """Who hears what the upstream says unasked. `audience` is whom that may concern."""

    def on_notification(self, method: str, params: dict[str, Any] | None, audience: Audience) -> None:
        """Called in the order of the wire. Must not block."""
        ...

    async def on_request(self, method: str, params: dict[str, Any] | None, audience: Audience) -> dict[str, Any]:
        """Answer a request of the upstream's, or raise `GatewayError`."""
        ...

    def on_noise(self, text: str) -> None:
        """The upstream sent something that is no message."""
        ...


class QuestionTarget(Protocol):
    """Takes what an upstream asks on behalf of a request (sampling, elicitation, roots) to whoever sent it."""

    @property
    def agent(self) -> Agent:
        """Who answers."""
        ...

    async def put_question(self, method: str, params: dict[str, Any] | None) -> dict[str, Any]:
        """The agent's result.

        Raises:
            GatewayError: it has none; what the upstream is to be told instead.
        """
        ...


def header_lines(headers: Mapping[str, str]) -> bytes:
    """Ready header lines.

    Raises:
        ValueError: a line break in a name or value. They are refused where they enter (configuration, header codec) and
            here once more, because this is where one would do harm.
    """
    lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
    if lines.count("\n") != len(headers) or lines.count("\r") != len(headers) or "\0" in lines:
        raise ValueError("a header contains a line break")
    return lines.encode("latin-1", "replace")


class HeaderLines(dict[str, str]):
    """HTTP headers that are sent with many requests of one connection: written once, and not to be changed.

    Raises:
        ValueError: see `header_lines`.
    """

    __slots__ = ("behind", "head", "lines")

    def __init__(self, headers: Mapping[str, str]) -> None:
        super().__init__(headers)
        self.lines = header_lines(headers)
        self.head = self.behind = b""
        """The whole head of a POST with them, and what it begins with: see `HttpDispatcher.post`."""


class Pending(msgspec.Struct, eq=False):
    """One request in flight on one connection.

    A `Struct`, so that what most requests do not need costs nothing to have: it is constructed in C.
    """

    upstream: str
    id: RequestId
    method: str
    future: asyncio.Future[dict[str, Any]]
    call: "Call | None" = None
    """The agent's that it is sent for; None for the gateway's own."""
    tenant: str = ALL
    """The root principal on whose behalf it is sent."""
    headers: Mapping[str, str] = NO_HEADERS
    """Further HTTP headers."""
    deadlines: Deadlines | None = None
    """Told of each time at which it may be due."""
    began: float = 0.0
    """When its time began to run, in the loop's time."""
    timeout: float = math.inf
    """Seconds without progress, …"""
    max_timeout: float = math.inf
    """… and in all."""
    due: float = math.inf
    """When there must be an answer, in the loop's time."""
    hears: Notify | None = None
    """Of a request of the gateway's own: hears the notifications that belong to it."""
    reply: object = None
    """What the transport keeps with it."""
    _is_last: bool = False
    _asked: set[anyio.CancelScope] | None = None

    @property
    def on_notification(self) -> Notify | None:
        """Hears what the upstream says on behalf of this request."""
        return self.call.on_notification if self.call is not None else self.hears

    @property
    def question_target(self) -> QuestionTarget | None:
        """Answers what the upstream asks on behalf of this request."""
        return self.call if self.call is not None and self.call.can_be_asked else None

    def renew_deadline(self) -> None:
        """The upstream showed progress."""
        if not self._asked:
            self._reset_deadline(self.timeout)

    @contextmanager
    def asked(self) -> Generator[anyio.CancelScope]:
        """While somebody thinks about a question of the upstream's, only the latest deadline counts. When the request
        is over before there is an answer, nobody needs one: the block is cancelled."""
        with anyio.CancelScope() as scope:
            if self._asked is None:
                self._asked = set()
            self._asked.add(scope)
            self._reset_deadline(math.inf)
            try:
                yield scope
            finally:
                self._asked.discard(scope)
                self.renew_deadline()

    def _reset_deadline(self, timeout: float) -> None:
        if self.deadlines is not None and not self.future.done():
            due, latest = self.future.get_loop().time() + timeout, self.began + self.max_timeout
            self._is_last = due > latest
            self.due = latest if self._is_last else due
            self.deadlines.watch(self.due)

    def expire(self) -> None:
        """There was no answer in time."""
        limit = (self.max_timeout, "max_timeout") if self._is_last else (self.timeout, "timeout")
        self.fail(UpstreamTimeout(self.upstream, self.method, *limit))

    def settle(self) -> None:
        """Nobody waits any more: what was asked meanwhile is cancelled. What refers to this refers to nothing behind it
        from here on."""
        if self._asked:
            for scope in self._asked:
                scope.cancel()
        if not self.future.done():
            self.future.cancel()
        self.call = self.hears = self.reply = None

    def answered(self, result: dict[str, Any], size: int) -> None:
        """The result has come; `size` is its answer's, in bytes."""
        if self.call is not None:
            self.call.result_bytes = size
        if not self.future.done():
            self.future.set_result(result)

    def succeed(self, result: dict[str, Any]) -> None:
        if not self.future.done():
            self.future.set_result(result)

    def fail(self, error: Exception) -> None:
        if not self.future.done():
            self.future.set_exception(error)
            self.future.exception()  # it has been read: asyncio need not report it if nobody waits any more
