"""One HTTP response to one JSON-RPC request: whole if the answer comes first, an event stream otherwise.

Most calls say nothing before they answer, and cost one `send` more than their body. The first notification, or a
silence long enough for a proxy to lose patience, turns the response into a `text/event-stream` that is written piece by
piece.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Final

import anyio
from anyio.abc import TaskGroup

from gateway import jsonrpc
from gateway.frontend.backlog import Backlog, Backlogs
from gateway.frontend.streams import Channel, event, priming
from gateway.jsonrpc import Message
from gateway.request import Principal

Send = Callable[[dict[str, Any]], Awaitable[None]]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Headers = Iterable[tuple[bytes, bytes]]

MAX_BACKLOG: Final = 1024
"""Most notifications waiting for a client that does not read. Beyond it they are dropped."""
CHUNK: Final = 256 * 1024
"""Bytes that are written at a time, or one message."""

STREAM_HEADERS: Final = (
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-cache, no-transform"),
    (b"x-accel-buffering", b"no"),
)


def encode(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    """Headers as ASGI wants them."""
    return [(name.encode("latin-1"), value.encode("latin-1", "replace")) for name, value in headers.items()]


def _nothing() -> None:
    """Where there is no connection to abort."""


class EventStream:
    """The body of a `text/event-stream` response: a queue on one side, `send` on the other.

    Args:
        backlog: counts what is queued.
        abort: ends the connection at once.
    """

    def __init__(
        self, send: Send, keepalive: float, backlog: Backlog | None = None, abort: Callable[[], None] = _nothing
    ) -> None:
        self._send = send
        self._keepalive = keepalive
        self._backlog = backlog if backlog is not None else Backlogs().open()
        self._abort = abort
        self._queue: deque[bytes] = deque()
        self._filled = anyio.Event()
        self._ended = False
        self._over = False

    @property
    def is_full(self) -> bool:
        """Whether notifications are dropped for now."""
        return len(self._queue) >= MAX_BACKLOG or not self._backlog.has_room(1)

    def push(self, data: bytes, *, must: bool = False) -> None:
        """Queue data; never blocks. When the client does not read it is dropped; with `must`, the stream ends."""
        if self._over:
            return
        if self._backlog.has_room(len(data), must=must) and (must or len(self._queue) < MAX_BACKLOG):
            self._backlog.add(len(data))
            self._queue.append(data)
            self._filled.set()
        elif must:
            self._backlog.lose()
            self._close()
            self._abort()

    def end(self) -> None:
        """What is queued is the rest of it."""
        self._ended = True
        self._filled.set()

    async def run(self, headers: Headers) -> None:
        """Send it all, keeping the connection alive in between, until `end`."""
        try:
            await self._send({"type": "http.response.start", "status": 200, "headers": [*STREAM_HEADERS, *headers]})
            begun = False
            while True:
                while self._queue:
                    if begun:
                        await self._write(b"")  # waits until what was written before is read: only then is there more
                    begun = True
                    await self._write(self._take())
                if self._ended:
                    break
                self._filled = anyio.Event()
                with anyio.move_on_after(self._keepalive) as waited:
                    await self._filled.wait()
                if waited.cancelled_caught:
                    await self._write(b": keepalive\n\n")
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            self._close()

    async def _write(self, data: bytes) -> None:
        await self._send({"type": "http.response.body", "body": data, "more_body": True})

    def _take(self) -> bytes:
        """The next messages, in one piece; from here on the connection counts them."""
        pieces: list[bytes] = []
        size = 0
        while self._queue and (not size or size + len(self._queue[0]) <= CHUNK):
            pieces.append(self._queue.popleft())
            size += len(pieces[-1])
        self._backlog.remove(size)
        return b"".join(pieces)

    def _close(self) -> None:
        """Nothing is sent any more."""
        self._over = self._ended = True
        self._queue.clear()
        self._backlog.clear()
        self._filled.set()


class Exchange:
    """Answers one request.

    Args:
        tasks: where the stream's writer runs, should there be one.
        headers: for either form of the response; may be added to until it begins.
        streams: whether the client accepts an event stream; if not, notifications have nowhere to go.
        channel: the stream of a session that this is, if its client can come back for it.
        prime: whether such a client is given an id to come back with before there is anything to say; its answer is
            then an event as well.
        backlogs: count what waits for the client, who is `principal`.
        abort: ends its connection at once.
    """

    def __init__(
        self,
        send: Send,
        tasks: TaskGroup,
        keepalive: float,
        headers: dict[str, str],
        *,
        streams: bool,
        channel: Channel | None = None,
        prime: bool = False,
        backlogs: Backlogs | None = None,
        principal: Principal | None = None,
        abort: Callable[[], None] = _nothing,
    ) -> None:
        self._send = send
        self._backlogs = backlogs
        self._principal = principal
        self._abort = abort
        self._tasks = tasks
        self._keepalive = keepalive
        self._headers = headers
        self.streams = streams
        self._channel = channel
        self._prime = prime
        self._stream: EventStream | None = None
        self._written = anyio.Event()

    def notify(self, method: str, params: dict[str, Any] | None) -> None:
        """Send a notification ahead of the answer."""
        if self.streams and (self._stream is None or not self._stream.is_full):
            self.write(jsonrpc.notification(method, params), must=False)

    def write(self, message: Message, *, must: bool = True) -> None:
        """Send a message ahead of the answer."""
        stream = self._open()
        if self._channel is not None:
            self._channel.push(message, must=must)
        else:
            stream.push(event(message), must=must)

    def pause(self) -> None:
        """End the connection, but not the stream, where the client can come back for the rest."""
        if self.streams and self._prime and self._channel is not None:
            stream = self._open()
            self._channel.detach(stream)
            stream.end()

    def open_if_silent(self) -> asyncio.TimerHandle:
        """Turn to a stream when nothing was said for a while. The caller cancels the timer when it has its answer."""
        return asyncio.get_running_loop().call_later(self._keepalive, self._on_silence)

    async def finish(self, answer: Message | list[Message] | None, status: int = 200) -> None:
        """Send the answer, or those to a batch; None for a request that was cancelled and is owed none."""
        if self._stream is None:
            await self._send_whole(answer, status)
            return
        for one in answer if isinstance(answer, list) else [answer]:
            if one is not None:
                self.write(one)
        if self._channel is not None:
            self._channel.end()
        self._stream.end()
        await self._written.wait()

    async def _send_whole(self, answer: Message | list[Message] | None, status: int) -> None:
        """Nothing was said before: one response of a known length."""
        if self._prime and self._channel is not None and isinstance(answer, dict) and status == 200:
            body = priming(self._channel.id(0)) + self._channel.record(answer)[1]
            self._channel.end()
            headers = [*STREAM_HEADERS]
        else:
            body = jsonrpc.dumps(answer) if answer is not None else b""
            headers = [(b"content-type", b"application/json")]
            if self._channel is not None:
                self._channel.end()
        headers += [(b"content-length", b"%d" % len(body)), *encode(self._headers)]
        await self._send({"type": "http.response.start", "status": status, "headers": headers})
        await self._send({"type": "http.response.body", "body": body})

    def _on_silence(self) -> None:
        if self.streams:
            self._open()

    def _open(self) -> EventStream:
        if self._stream is None:
            backlog = self._backlogs.open(self._principal) if self._backlogs is not None else None
            self._stream = EventStream(self._send, self._keepalive, backlog, self._abort)
            if self._channel is not None:
                self._channel.attach(self._stream, 0, prime=self._prime)
            self._tasks.start_soon(self._write, self._stream)
        return self._stream

    async def _write(self, stream: EventStream) -> None:
        try:
            await stream.run(encode(self._headers))
        finally:
            self._written.set()
