"""The legacy HTTP+SSE transport as a client: one standing event stream, and a POST for each message.

Source: 2024-11-05, basic/transports. The SDK's own reads messages into models, which changes numbers and drops halves
of surrogate pairs, caps events at 1 MiB, and ends its writer, without a word, over the first POST that fails.
"""

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import anyio
from anyio.abc import TaskStatus

from gateway import jsonrpc
from gateway.errors import GatewayError, LoginNeeded, UpstreamLost, UpstreamProtocolError
from gateway.jsonrpc import Message
from gateway.protocol import Era
from gateway.upstream.credentials import REFUSALS, Challenge, challenge_of
from gateway.upstream.fair import ALL
from gateway.upstream.transport.events import Event, EventParser, EventTooLarge
from gateway.upstream.transport.http import HttpDispatcher
from gateway.upstream.transport.pending import HttpRefusal, Pending, SessionLost
from gateway.upstream.transport.proved import MAX_REFUSALS
from gateway.upstream.transport.receipt import Receipt
from gateway.upstream.transport.reply import is_event_stream, jsonrpc_error, session_lost
from gateway.upstream.transport.wire import Reply, ResponseHeaders, WireError

if TYPE_CHECKING:
    from mcp.shared.dispatcher import CallOptions as SdkCallOptions


_COMPRESSED: Final = "a compressed event stream, though identity was asked for"


class SseDispatcher(HttpDispatcher):
    """A `Dispatcher` over a standing event stream and POSTs beside it."""

    async def run(self, *args: Any, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED, **kwargs: Any) -> None:
        """Open the stream and carry the connection until it closes.

        Raises:
            HttpRefusal: the upstream answered with an HTTP error.
            UpstreamLost: there is no connection, or it broke.
        """
        try:
            await self._open()
            await super().run(*args, task_status=task_status, **kwargs)
        finally:
            self.pool.close()

    async def _open(self) -> None:
        proof = self.proof
        stream = _Stream(self)
        try:
            await self._start(stream)
        except HttpRefusal as refusal:
            if refusal.status not in REFUSALS or not await self._proves(refusal.status, stream.challenge, proof):
                raise
            await self._start(_Stream(self))

    async def _proves(self, status: int, header: str, proof: Mapping[str, str]) -> bool:
        """Whether what was refused may be sent once more.

        Raises:
            GatewayError: it may not; what to say instead of the refusal.
        """
        if self.credentials is None:
            return False
        return await self.credentials.refused(Challenge(status, header, proof))

    async def _start(self, stream: "_Stream") -> None:
        seconds = self.endpoint.connect_timeout
        try:
            with anyio.fail_after(seconds):
                wire = await self.pool.acquire(standing=True)
                wire.start(self.request(b"GET"), stream)
                await stream.opened
        except WireError as error:
            raise UpstreamLost(self.upstream, error.reason, delivered=error.delivered) from None
        except TimeoutError:
            raise UpstreamLost(self.upstream, f"no event stream within {seconds:g} s", delivered=False) from None

    def negotiated(self, version: str, era: Era) -> None:
        """No message names the revision, and there is no other stream to open."""

    def lead(self, endpoint: str) -> None:
        """From now on messages are posted there.

        Raises:
            UpstreamLost: it is of another origin, where credentials must not travel.
        """
        if not self.follow(endpoint):
            raise UpstreamLost(self.upstream, "it wants messages sent to another origin", delivered=False)

    def on_noise(self, text: str) -> None:
        self._peer.on_noise(text)

    # --- CallTable ------------------------------------------------------------------------------------------------

    async def notify(self, method: str, params: Mapping[str, Any] | None, opts: "SdkCallOptions | None" = None) -> None:
        failure = await self._deliver(jsonrpc.notification(method, dict(params) if params is not None else None))
        self._note(method, failure)

    async def _answer(self, message: Message) -> None:
        self._note("an answer", await self._deliver(message))

    def _transmit(self, message: Message, pending: Pending) -> None:
        pending.reply = sending = anyio.CancelScope()
        self.spawn(self._send, message, pending, sending, pending.tenant, pending.headers)

    def _withdraw(self, pending: Pending, *, tell: bool) -> None:
        if isinstance(pending.reply, anyio.CancelScope):
            pending.reply.cancel()
        if tell:
            self.spawn(self.notify, "notifications/cancelled", {"requestId": pending.id, "reason": "no longer awaited"})

    # --- Inside ---------------------------------------------------------------------------------------------------

    async def _send(
        self, message: Message, pending: Pending, sending: anyio.CancelScope, tenant: str, headers: Mapping[str, str]
    ) -> None:
        with sending:
            failure = await self._deliver(message, tenant, headers)
            if failure is not None:
                pending.fail(failure)
            if isinstance(failure, SessionLost):
                self.close(failure)

    async def _deliver(
        self, message: Message, tenant: str = ALL, headers: Mapping[str, str] | None = None, refusals: int = 0
    ) -> GatewayError | None:
        """POST a message. Returns why the upstream has not accepted it, or nothing."""
        receipt, seconds, proof = Receipt(), self.endpoint.connect_timeout, self.proof
        try:
            with anyio.fail_after(seconds):
                request = self.post(headers or {}, jsonrpc.dumps_spliced(message))
                receipt.start(await self.pool.acquire(tenant), request)
                await receipt.ended
        except WireError as error:
            return UpstreamLost(self.upstream, error.reason, delivered=error.delivered)
        except TimeoutError:
            return UpstreamLost(self.upstream, f"not accepted within {seconds:g} s", delivered=receipt.sent)
        finally:
            if not receipt.ended.done():
                receipt.abort()
        if 200 <= receipt.status < 300:
            return None
        if receipt.status == 401:
            self.on_unauthorized()
        if receipt.status in REFUSALS and refusals < MAX_REFUSALS:
            try:
                with self.being_refused():
                    again = await self._proves(receipt.status, receipt.challenge, proof)
            except GatewayError as error:
                if isinstance(error, LoginNeeded) and receipt.status == 401:
                    asyncio.get_running_loop().call_soon(self.lost_login)  # who was refused is told first
                return error
            if again:
                return await self._deliver(message, tenant, headers, refusals + 1)
        error, text = jsonrpc_error(receipt.status, receipt.text), receipt.text.decode("utf-8", "replace")
        lost = session_lost(self.upstream, receipt.status, error, text)
        return lost or error or HttpRefusal(self.upstream, receipt.status, text=text)

    def _note(self, what: str, failure: GatewayError | None) -> None:
        """Nobody waits for what failed: it is said in the log alone."""
        if failure is not None:
            self.on_noise(f"{what} could not be delivered: {failure.message}")
        if isinstance(failure, SessionLost):
            self.close(failure)


class _Stream(Reply):
    """The standing stream."""

    def __init__(self, dispatcher: SseDispatcher) -> None:
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done when it is known where messages go; fails when it never will be."""
        self.challenge = ""
        """What the upstream wants to see, if it refused us for what it did not."""
        self.challenged = False
        self._dispatcher = dispatcher
        self._parser = EventParser(dispatcher.endpoint.max_response_bytes)

    def on_head(self, status: int, headers: ResponseHeaders) -> None:
        upstream = self._dispatcher.upstream
        if status == 401:
            self._dispatcher.on_unauthorized()
        if status in REFUSALS and self._dispatcher.credentials is not None:
            self.challenge, self.challenged = challenge_of(headers), True
            if not self.opened.done():
                self.opened.set_exception(HttpRefusal(upstream, status))
        elif status != 200:
            self._end(HttpRefusal(upstream, status))
        elif headers.get(b"content-encoding", b"identity").lower() != b"identity":
            self._end(UpstreamProtocolError(upstream, _COMPRESSED))
        elif not is_event_stream(headers):
            self._end(UpstreamProtocolError(upstream, "something else than an event stream"))

    def on_data(self, data: bytes) -> None:
        if self._dispatcher.closed is not None or self.challenged:
            return
        try:
            for event in self._parser.feed(data):
                self._on_event(event)
        except EventTooLarge:
            cap = self._dispatcher.endpoint.max_response_bytes
            self._end(UpstreamLost(self._dispatcher.upstream, f"an event of more than {cap} bytes"))
        except GatewayError as error:
            self._end(error)

    def on_end(self) -> None:
        if not self.challenged:
            self._end(UpstreamLost(self._dispatcher.upstream, "its event stream ended"))

    def on_lost(self, error: WireError) -> None:
        if not self.challenged:
            self._end(UpstreamLost(self._dispatcher.upstream, f"its event stream broke: {error.reason}"))

    def _on_event(self, event: Event) -> None:
        if event.name == b"endpoint":
            if not self.opened.done():
                self._dispatcher.lead(event.data.decode("utf-8", "replace").strip())
                self.opened.set_result(None)
        elif event.data and event.name == b"message" and self.opened.done():
            if self._dispatcher.drops(event.data):
                return
            try:
                message = jsonrpc.loads_answer(event.data)
            except ValueError:
                self._dispatcher.on_noise("an event that is not JSON")
                return
            self._dispatcher.receive(message, size=len(event.data))

    def _end(self, error: GatewayError) -> None:
        if not self.opened.done():
            self.opened.set_exception(error)
        self._dispatcher.close(error)
        self._dispatcher.pool.close()
