"""What every transport of ours shares: which request awaits which answer, and where everything else goes.

`CallTable` is the half of a `Dispatcher` (`mcp.shared.dispatcher`) that does no I/O. A transport decodes messages and
hands them to `receive`, synchronously and in the order of the wire; that order is what lets a progress notification
overtake nothing. It sends by implementing `_transmit` and `_withdraw`.

Raw dicts in and out: a result is what the upstream sent, to the last field.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any, Protocol, cast

import anyio
from anyio.abc import TaskGroup, TaskStatus

from gateway import jsonrpc
from gateway.errors import GatewayError, UpstreamError, UpstreamProtocolError, UpstreamTimeout
from gateway.jsonrpc import Message, RequestId
from gateway.protocol import INTERNAL_ERROR, INVALID_REQUEST, META_SUBSCRIPTION_ID, Era
from gateway.request import Notify

if TYPE_CHECKING:
    from mcp.shared.dispatcher import CallOptions as SdkCallOptions
    from mcp.shared.dispatcher import OnNotify, OnNotifyIntercept, OnRequest

    class CallOptions(SdkCallOptions, total=False):
        """The SDK's options, and what forwarding needs besides. All optional."""

        on_notification: Notify
        """Hears the notifications that belong to this request: its progress, its log messages, its listen frames."""
        progress: bool
        """Ask the upstream for progress, under a token of this side."""
        max_timeout: float
        """Progress starts `timeout` anew, but never beyond this many seconds after the request was sent."""

else:
    CallOptions = dict[str, Any]


class Peer(Protocol):
    """Who hears what the upstream says unasked. `call` is the request on whose behalf it spoke, when that is known."""

    def on_notification(self, method: str, params: dict[str, Any] | None, call: "Call | None") -> None:
        """Called in the order of the wire. Must not block."""
        ...

    async def on_request(self, method: str, params: dict[str, Any] | None, call: "Call | None") -> dict[str, Any]:
        """Answer a request of the upstream's, or raise `GatewayError`."""
        ...

    def on_noise(self, text: str) -> None:
        """The upstream sent something that is no message."""
        ...


class Call:
    """One request in flight."""

    __slots__ = ("_expired", "_latest", "_timeout", "_timer", "future", "id", "method", "on_notification", "reply")

    def __init__(self, id: RequestId, method: str, on_notification: Notify | None, future: asyncio.Future[Any]) -> None:
        self.id = id
        self.method = method
        self.on_notification = on_notification
        self.future: asyncio.Future[dict[str, Any]] = future
        self.reply: object = None
        """What the transport keeps with the call."""
        self._timer: asyncio.TimerHandle | None = None

    def set_deadline(self, timeout: float, latest: float, expired: Exception) -> None:
        """Fail with `expired` after `timeout` seconds without progress, or `latest` seconds in all."""
        loop = self.future.get_loop()
        self._timeout, self._latest, self._expired = timeout, loop.time() + latest, expired
        self._timer = loop.call_later(min(timeout, latest), self.fail, expired)

    def renew_deadline(self) -> None:
        """The upstream showed progress."""
        if self._timer is not None:
            self._timer.cancel()
            loop = self.future.get_loop()
            self._timer = loop.call_at(min(loop.time() + self._timeout, self._latest), self.fail, self._expired)

    def settle(self) -> None:
        """Nobody waits any more: drop the timer, and read a failure that would otherwise be reported as unread."""
        if self._timer is not None:
            self._timer.cancel()
        if not self.future.done():
            self.future.cancel()
        elif not self.future.cancelled():
            self.future.exception()

    def succeed(self, result: dict[str, Any]) -> None:
        if not self.future.done():
            self.future.set_result(result)

    def fail(self, error: Exception) -> None:
        if not self.future.done():
            self.future.set_exception(error)


class CallTable(ABC):
    """Correlates requests and answers over one connection to one upstream."""

    def __init__(self, upstream: str, peer: Peer) -> None:
        self.upstream = upstream
        self.calls: dict[RequestId, Call] = {}
        self._peer = peer
        self._next_id = 0
        self._asked: dict[RequestId, anyio.CancelScope] = {}
        self._closed: GatewayError | None = None
        self._tasks: TaskGroup | None = None
        self._done = anyio.Event()

    # --- Dispatcher ---------------------------------------------------------------------------------------------

    async def send_raw_request(
        self, method: str, params: Mapping[str, Any] | None, opts: "SdkCallOptions | None" = None
    ) -> dict[str, Any]:
        """Send one request; return its result as the upstream sent it.

        Raises:
            UpstreamError: the upstream answered with an error.
            UpstreamTimeout: no answer within `opts["timeout"]` seconds.
            GatewayError: the answer was lost, too large, or not MCP.
        """
        if self._closed is not None:
            raise self._closed
        options = cast("CallOptions", opts or {})
        loop = asyncio.get_running_loop()
        call = Call(
            options.get("request_id") or self._mint(), method, options.get("on_notification"), loop.create_future()
        )
        message = jsonrpc.request(call.id, method, self._with_token(params, call, options))
        timeout = options.get("timeout")
        if timeout is not None:
            expired = UpstreamTimeout(self.upstream, method, timeout)
            call.set_deadline(timeout, options.get("max_timeout", timeout), expired)
        self.calls[call.id] = call
        try:
            await self._transmit(message, call, options)
            return await call.future
        except (asyncio.CancelledError, UpstreamTimeout):
            self._withdraw(call, tell=options.get("cancel_on_abandon", True))
            raise
        finally:
            self.calls.pop(call.id, None)
            call.settle()

    @abstractmethod
    async def notify(
        self, method: str, params: Mapping[str, Any] | None, opts: "SdkCallOptions | None" = None
    ) -> None: ...

    async def run(
        self,
        on_request: "OnRequest",
        on_notify: "OnNotify",
        on_notify_intercept: "OnNotifyIntercept | None" = None,
        *,
        task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED,
    ) -> None:
        """Carry the connection until it closes. The SDK's typed handlers go unused: `Peer` hears raw messages."""
        async with anyio.create_task_group() as self._tasks:
            task_status.started()
            await self._done.wait()
            self._tasks.cancel_scope.cancel()

    def negotiated(self, version: str, era: Era) -> None:  # noqa: B027 - a hook; most transports need nothing
        """The session calls this once the revision is agreed."""

    @abstractmethod
    async def aclose(self) -> None:
        """Release what the connection holds, within bounds."""

    # --- What transports use --------------------------------------------------------------------------------------

    @abstractmethod
    async def _transmit(self, message: Message, call: Call, options: "CallOptions") -> None:
        """Put the request on the wire. The answer comes through `receive` or `call.fail`."""

    @abstractmethod
    def _withdraw(self, call: Call, *, tell: bool) -> None:
        """The caller no longer waits. Tell the upstream in the way of its era, if `tell`. Must not block."""

    @abstractmethod
    async def _answer(self, message: Message) -> None:
        """Send the answer to a request of the upstream's."""

    @property
    def closed(self) -> GatewayError | None:
        """Why the connection is of no more use, or None."""
        return self._closed

    async def wait_closed(self) -> GatewayError:
        """Wait for the end of the connection and return its reason."""
        await self._done.wait()
        assert self._closed is not None
        return self._closed

    def close(self, reason: GatewayError) -> None:
        """End the connection: every call in flight fails with `reason`. Only the first reason counts."""
        if self._closed is None:
            self._closed = reason
            for call in list(self.calls.values()):
                call.fail(reason)
            self._done.set()

    def receive(self, message: Any, via: Call | None = None) -> None:
        """Take one decoded message. `via` is the call on whose stream it arrived, where the transport knows."""
        if not isinstance(message, dict):
            self._garbage(f"a message that is not an object but {type(message).__name__}", via)
            return
        body = cast(Message, message)
        method, id = body.get("method"), body.get("id")
        if isinstance(method, str):
            params = cast("dict[str, Any] | None", body.get("params") if isinstance(body.get("params"), dict) else None)
            if id is None:
                self._receive_notification(method, params, via)
            elif jsonrpc.is_id(id):
                self.spawn(self._receive_request, id, method, params, via)
        else:
            self._receive_answer(body, id, via)

    # --- Inside ---------------------------------------------------------------------------------------------------

    def _mint(self) -> RequestId:
        self._next_id += 1
        return self._next_id

    def _with_token(
        self, params: Mapping[str, Any] | None, call: Call, options: "CallOptions"
    ) -> dict[str, Any] | None:
        if not options.get("progress"):
            return cast("dict[str, Any] | None", params)
        params = params or {}
        return {**params, "_meta": {**(params.get("_meta") or {}), "progressToken": call.id}}

    def _receive_answer(self, body: Message, id: object, via: Call | None) -> None:
        call = self._call(id) or (via if id is None else None)
        if call is None and isinstance(id, int) and id <= self._next_id:
            pass  # it comes too late: the caller gave up
        elif call is None:
            self._peer.on_noise(f"an answer to a request that is not waiting (id {str(id)[:64]!r})")
        elif isinstance(result := body.get("result"), dict):
            call.succeed(cast("dict[str, Any]", result))
        elif isinstance(error := body.get("error"), dict):
            call.fail(_upstream_error(cast("dict[str, Any]", error)))
        else:
            self._garbage("an answer with neither a result object nor an error", call)

    def _receive_notification(self, method: str, params: dict[str, Any] | None, via: Call | None) -> None:
        if method == "notifications/cancelled":
            scope = self._asked.get((params or {}).get("requestId", ""))
            if scope is not None:
                scope.cancel()
            return
        call = via or self._owner(method, params or {})
        if call is not None and method == "notifications/progress":
            call.renew_deadline()
        if call is not None and call.on_notification is not None:
            call.on_notification(method, params)
        else:
            self._peer.on_notification(method, params, call)

    def _owner(self, method: str, params: dict[str, Any]) -> Call | None:
        """The call a notification names by its progress token or subscription id."""
        if method == "notifications/progress":
            return self._call(params.get("progressToken"))
        meta = params.get("_meta")
        return self._call(cast("dict[str, Any]", meta).get(META_SUBSCRIPTION_ID)) if isinstance(meta, dict) else None

    def _call(self, id: object) -> Call | None:
        """The call with that id; a peer that turned `7` into `"7"` is understood."""
        if isinstance(id, str):
            return self.calls.get(id) or (self.calls.get(int(id)) if id.isdecimal() and len(id) < 19 else None)
        return self.calls.get(id) if jsonrpc.is_id(id) else None

    async def _receive_request(
        self, id: RequestId, method: str, params: dict[str, Any] | None, via: Call | None
    ) -> None:
        with anyio.CancelScope() as scope:
            self._asked[id] = scope
            try:
                answer = jsonrpc.result(id, await self._peer.on_request(method, params, via))
            except GatewayError as error:
                answer = jsonrpc.error(id, error.code, error.message, error.data)
            except Exception as error:
                self._peer.on_noise(f"answering {method} failed: {type(error).__name__}")
                answer = jsonrpc.error(id, INTERNAL_ERROR, "Internal error")
            finally:
                self._asked.pop(id, None)
            await self._answer(answer)

    def _garbage(self, reason: str, call: Call | None) -> None:
        if call is not None:
            call.fail(UpstreamProtocolError(self.upstream, reason))
        else:
            self._peer.on_noise(reason)

    def spawn(self, work: Callable[..., Coroutine[Any, Any, Any]], *args: Any) -> None:
        """Run `work` beside the connection; it is cancelled when the connection closes."""
        if self._tasks is not None and self._closed is None:
            self._tasks.start_soon(work, *args)


def _upstream_error(error: dict[str, Any]) -> UpstreamError:
    code = error.get("code")
    message = error.get("message")
    return UpstreamError(
        code if isinstance(code, int) and not isinstance(code, bool) else INVALID_REQUEST,
        message if isinstance(message, str) else "",
        error.get("data"),
    )
