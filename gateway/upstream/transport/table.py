"""What every transport of ours shares: which request awaits which answer, and where everything else goes.

`CallTable` is the half of a `Dispatcher` (`mcp.shared.dispatcher`) that does no I/O. A transport decodes messages and
hands them to `receive`, synchronously and in the order of the wire; that order is what lets a progress notification
overtake nothing. It sends by implementing `_transmit` and `_withdraw`.

Raw dicts in and out: a result is what the upstream sent, to the last field.
"""

import asyncio
import math
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any, Final, cast

import anyio
from anyio.abc import TaskGroup, TaskStatus

from gateway import jsonrpc
from gateway.call import LASTING_PREFIX, NO_HEADERS
from gateway.errors import (
    AgentGone,
    GatewayError,
    UpstreamError,
    UpstreamLost,
    UpstreamOversized,
    UpstreamProtocolError,
    UpstreamTimeout,
)
from gateway.harmless import LONGEST_SECRET
from gateway.jsonrpc import Message, RequestId, as_object
from gateway.protocol import INTERNAL_ERROR, INVALID_REQUEST, META_SUBSCRIPTION_ID, PROGRESS, TASK_STATUS, Era
from gateway.upstream.audience import Audience
from gateway.upstream.transport.deadlines import Deadlines
from gateway.upstream.transport.pending import HungUp, MessageHandler, Pending, QuestionTarget

if TYPE_CHECKING:
    from mcp.shared.dispatcher import CallOptions as SdkCallOptions
    from mcp.shared.dispatcher import OnNotify, OnNotifyIntercept, OnRequest

    from gateway.call import Call
    from gateway.upstream.transport.pending import CallOptions

MAX_ASKED: Final = 64
"""Most requests of the upstream's that are answered at a time: on behalf of one call, where the transport shows which
it is, so that questions one agent has yet to answer keep nobody else's away; else in all."""


MAX_NOTIFICATION: Final = 4 * 1024 * 1024
"""Most bytes of a notification. To decode a larger one, and to pass it on, would hold everybody up for too long; nobody
has asked for it, and no answer is lost with it."""


class CallTable(ABC):
    """Correlates requests and answers over one connection to one upstream."""

    def __init__(self, upstream: str, peer: MessageHandler) -> None:
        self.upstream = upstream
        self.audience = Audience()
        """Whom it concerns what the upstream says unasked."""
        self.pending: dict[RequestId, Pending] = {}
        self.hears = anyio.Event()
        """Set once what the upstream says unasked reaches us, as far as it ever will."""
        self.hears.set()
        self.on_gap: Callable[[], None] = lambda: None
        """Called when it reaches us again, after a time in which it did not."""
        self._peer = peer
        self._deadlines = Deadlines(self.pending.values())
        self._loop = asyncio.get_running_loop()
        self._next_id = 0
        self._asked: dict[RequestId, anyio.CancelScope] = {}
        self._asked_for = Counter[RequestId | None]()
        self._size = 0
        """Bytes of the message that is being taken in."""
        self.closed: GatewayError | None = None
        """Why the connection is of no more use, or None."""
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
        if self.closed is not None:
            raise self.closed
        options, loop = cast("CallOptions", opts or {}), self._loop
        began, timeout = loop.time(), options.get("timeout")
        timeout = math.inf if timeout is None else timeout
        pending = Pending(
            self.upstream,
            options.get("request_id") or self._mint(),
            method,
            loop.create_future(),
            headers=options.get("headers") or NO_HEADERS,
            deadlines=self._deadlines,
            began=began,
            timeout=timeout,
            max_timeout=timeout,
            due=began + timeout,
            hears=options.get("on_notification"),
        )
        self._begin(pending, jsonrpc.request(pending.id, method, dict(params) if params is not None else None))
        try:
            return await pending.future
        except (asyncio.CancelledError, UpstreamTimeout):
            self.withdraw(pending, tell=options.get("cancel_on_abandon", True))
            raise
        finally:
            self.end(pending)

    def send(
        self,
        call: "Call",
        method: str,
        params: dict[str, Any],
        timeout: float,
        max_timeout: float,
        began: float,
        headers: Mapping[str, str],
        with_progress: bool,
    ) -> Pending:
        """Send a request for an agent's call. Whoever awaits its `future` calls `end` when that is over, and `withdraw`
        before if there is no answer.

        Args:
            timeout: seconds without progress.
            max_timeout: seconds in all.
            began: since when, in the loop's time.
            with_progress: whether its agent wants to hear how it goes on.

        Raises:
            GatewayError: the connection has ended.
        """
        if self.closed is not None:
            raise self.closed
        self._next_id = id = self._next_id + 1
        tenant = call.principal.root_id
        pending = Pending(
            self.upstream,
            id,
            method,
            self._loop.create_future(),
            call=call,
            tenant=tenant,
            headers=headers,
            deadlines=self._deadlines,
            began=began,
            timeout=timeout,
            max_timeout=max_timeout,
            due=began + (timeout if timeout < max_timeout else max_timeout),
        )
        if tenant and tenant not in self.audience.roots:
            self.audience.used_by(tenant)
        if with_progress:
            token = call.lasting_token or id
            params = {**params, "_meta": {**as_object(params.get("_meta")), "progressToken": token}}
        self._begin(pending, {"jsonrpc": "2.0", "id": id, "method": method, "params": params})
        return pending

    def withdraw(self, pending: Pending, *, tell: bool = True) -> None:
        """Nobody waits for the answer any more; the upstream is told so, if `tell`."""
        self._withdraw(pending, tell=tell)

    def end(self, pending: Pending) -> None:
        """It is over, one way or another."""
        self.pending.pop(pending.id, None)
        pending.settle()

    def _begin(self, pending: Pending, message: Message) -> None:
        if pending.due < self._deadlines.at:
            self._deadlines.watch(pending.due)
        self.pending[pending.id] = pending
        try:
            self._transmit(message, pending)
        except BaseException:
            self.end(pending)
            raise

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
        """Carry the connection until it closes. The SDK's typed handlers go unused: ours hears raw messages."""
        try:
            async with anyio.create_task_group() as self._tasks:
                task_status.started()
                await self._done.wait()
                self._tasks.cancel_scope.cancel()
        finally:
            self.close(HungUp(self.upstream, "the gateway gave the connection up"))

    def negotiated(self, version: str, era: Era) -> None:  # noqa: B027 - a hook; most transports need nothing
        """The session calls this once the revision is agreed."""

    def restart(self) -> None:  # noqa: B027 - for what is shared with other processes
        """The connection is about to be closed so that whatever is at its other end starts anew."""

    @abstractmethod
    async def aclose(self) -> None:
        """Release what the connection holds, within bounds."""

    # --- What transports use --------------------------------------------------------------------------------------

    @abstractmethod
    def _transmit(self, message: Message, pending: Pending) -> None:
        """Put the request on the wire, or see to it that it gets there. Must not block: the caller's deadline runs.
        The answer comes through `receive` or `call.fail`."""

    @abstractmethod
    def _withdraw(self, pending: Pending, *, tell: bool) -> None:
        """The caller no longer waits. Tell the upstream in the way of its era, if `tell`. Must not block."""

    @abstractmethod
    async def _answer(self, message: Message) -> None:
        """Send the answer to a request of the upstream's."""

    async def wait_closed(self) -> GatewayError:
        """Wait for the end of the connection and return its reason."""
        await self._done.wait()
        assert self.closed is not None
        return self.closed

    def close(self, reason: GatewayError) -> None:
        """End the connection: every request in flight fails with `reason`. Only the first reason counts."""
        if self.closed is None:
            self.closed = reason
            if isinstance(reason, UpstreamLost) and not reason.delivered:
                # That is said of the request that found it out. The others were sent, and must not be sent twice.
                reason = UpstreamLost(self.upstream, "its session ended")
            for pending in list(self.pending.values()):
                pending.fail(reason)
            self._deadlines.stop()
            self._done.set()

    def drops(self, data: bytes) -> bool:
        """Whether an encoded message is not to be decoded: a notification, beyond doubt, and too large a one."""
        if len(data) <= MAX_NOTIFICATION or data.find(b'"id"') >= 0:
            return False
        self._drop()
        return True

    def receive(self, message: Any, via: Pending | None = None, size: int = 0) -> None:
        """Take one decoded message.

        Args:
            via: the request on whose stream it arrived, where the transport knows.
            size: how many bytes it was.
        """
        self._size = size
        try:
            if size > MAX_NOTIFICATION and isinstance(message, dict) and "id" not in message:
                self._drop()
            else:
                self._receive(message, via)
        except Exception as error:  # whatever went wrong with one message, the next must be heard
            self._peer.on_noise(f"a message could not be taken in: {type(error).__name__}")

    # --- Inside ---------------------------------------------------------------------------------------------------

    def _drop(self) -> None:
        self._peer.on_noise(f"a notification of more than {MAX_NOTIFICATION} bytes")

    def _receive(self, message: Any, via: Pending | None) -> None:
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
                self._receive_request(id, method, params, via)
        else:
            self._receive_answer(body, id, via)

    def _mint(self) -> RequestId:
        self._next_id += 1
        return self._next_id

    def _receive_answer(self, body: Message, id: object, via: Pending | None) -> None:
        pending = via if id is None else self._find(id)
        if via is not None and pending is not via:
            self._garbage("an answer to another request", via)  # a call's own stream can answer no other
        elif pending is not None:
            self._settle(pending, body)
        elif not jsonrpc.is_id(id) or isinstance(id, str) or id > self._next_id:  # else too late: the caller gave up
            self._peer.on_noise(f"an answer to a request that is not waiting (id {str(id)[:LONGEST_SECRET]!r})")

    def _settle(self, pending: Pending, body: Message) -> None:
        if isinstance(result := jsonrpc.mended(body.get("result")), dict):
            given = cast("dict[str, Any]", result)
            if pending.call is not None:
                pending.call.result_bytes = self._size
            try:
                pending.succeed(given if pending.call is not None else jsonrpc.opened(given))
            except jsonrpc.TooManyValues:
                pending.fail(UpstreamOversized(self.upstream, jsonrpc.MAX_VALUES, "values"))
            except ValueError as error:
                self._garbage(f"an answer of which {error}", pending)
        elif isinstance(error := body.get("error"), dict):
            pending.fail(_upstream_error(cast("dict[str, Any]", error)))
        else:
            self._garbage("an answer with neither a result object nor an error", pending)

    def _receive_notification(self, method: str, params: dict[str, Any] | None, via: Pending | None) -> None:
        if method == "notifications/cancelled":
            id = (params or {}).get("requestId")
            if jsonrpc.is_id(id) and id in self._asked:
                self._asked[id].cancel()
            return
        pending = None if _is_of_task(method, params) else via or self._owner(method, params or {})
        if pending is None and method == "notifications/message":
            pending = self._only_call()
        if pending is not None and method == "notifications/progress":
            pending.renew_deadline()
        if pending is not None and pending.on_notification is not None:
            pending.on_notification(method, params)
        else:
            self._peer.on_notification(method, params, self.audience)

    def _owner(self, method: str, params: dict[str, Any]) -> Pending | None:
        """The request a notification names by its progress token or subscription id."""
        if method == "notifications/progress":
            return self._find(params.get("progressToken"))
        meta = params.get("_meta")
        return self._find(cast("dict[str, Any]", meta).get(META_SUBSCRIPTION_ID)) if isinstance(meta, dict) else None

    def _only_call(self) -> Pending | None:
        """What a log message is about that names no request: where one client is served, the one it waits for."""
        heard = [pending for pending in self.pending.values() if pending.on_notification is not None]
        return heard[0] if self.audience.is_private and len(heard) == 1 else None

    def _find(self, id: object) -> Pending | None:
        """The request with that id; a peer that turned `7` into `"7"` is understood."""
        if isinstance(id, str):
            return self.pending.get(id) or (self.pending.get(int(id)) if id.isdecimal() and len(id) < 19 else None)
        return self.pending.get(id) if jsonrpc.is_id(id) else None

    def _receive_request(self, id: RequestId, method: str, params: dict[str, Any] | None, via: Pending | None) -> None:
        owner = via.id if via is not None else None
        if id in self._asked or self._asked_for[owner] >= MAX_ASKED:
            self._peer.on_noise(f"a request ({method[:LONGEST_SECRET]}) under an id in use, or one too many")
            return
        self._asked[id] = anyio.CancelScope()
        self._asked_for[owner] += 1
        self.spawn(self._serve, id, method, params, via)

    async def _serve(self, id: RequestId, method: str, params: dict[str, Any] | None, via: Pending | None) -> None:
        try:
            with self._asked[id]:
                await self._answer(await self._ask_peer(id, method, params, via))
        except Exception as error:
            self._peer.on_noise(f"the answer to {method[:LONGEST_SECRET]} could not be sent: {type(error).__name__}")
        finally:
            del self._asked[id]
            owner = via.id if via is not None else None
            self._asked_for[owner] -= 1
            if not self._asked_for[owner]:
                del self._asked_for[owner]

    async def _ask_peer(
        self, id: RequestId, method: str, params: dict[str, Any] | None, via: Pending | None
    ) -> Message:
        pending = via or self._provoker()
        try:
            if pending is not None and pending.question_target is not None and method != "ping":
                result = await _ask(pending, pending.question_target, method, params)
            else:
                result = await self._peer.on_request(method, params, self.audience)
            return jsonrpc.result(id, result)
        except GatewayError as error:
            return jsonrpc.error(id, error.code, error.message, error.data)
        except Exception as error:
            self._peer.on_noise(f"answering {method[:LONGEST_SECRET]} failed: {type(error).__name__}")
            return jsonrpc.error(id, INTERNAL_ERROR, "Internal error")

    def _provoker(self) -> Pending | None:
        """The request on whose behalf the upstream asks, where the transport cannot tell: the latest, provided that all
        are one agent's. Among those of several it is never guessed."""
        if not self.audience.is_private:
            return None
        asking = [pending for pending in self.pending.values() if pending.question_target is not None]
        agents = {pending.question_target.agent.id for pending in asking if pending.question_target is not None}
        return asking[-1] if len(agents) == 1 else None

    def _garbage(self, reason: str, pending: Pending | None) -> None:
        if pending is not None:
            pending.fail(UpstreamProtocolError(self.upstream, reason))
        else:
            self._peer.on_noise(reason)

    def spawn(self, work: Callable[..., Coroutine[Any, Any, Any]], *args: Any) -> None:
        """Run `work` beside the connection; it is cancelled when the connection closes."""
        if self._tasks is not None and self.closed is None:
            self._tasks.start_soon(work, *args)


def _is_of_task(method: str, params: dict[str, Any] | None) -> bool:
    """Whether it is news of a task (2025-11-25), which may come on the stream of any request and belongs to none."""
    if method == PROGRESS:
        token = (params or {}).get("progressToken")
        return isinstance(token, str) and token.startswith(LASTING_PREFIX)
    return method == TASK_STATUS


async def _ask(pending: Pending, target: QuestionTarget, method: str, params: dict[str, Any] | None) -> dict[str, Any]:
    with pending.asked():
        return await target.put_question(method, params)
    raise AgentGone  # the request it was asked for is over


def _upstream_error(error: dict[str, Any]) -> UpstreamError:
    message = error.get("message")
    return UpstreamError(
        jsonrpc.error_code(error.get("code"), INVALID_REQUEST),
        message if isinstance(message, str) else "",
        error.get("data"),
    )
