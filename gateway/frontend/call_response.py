"""One HTTP response to one JSON-RPC request: whole if the answer comes first, an event stream otherwise.

Most calls say nothing before they answer, and cost one write. The first notification, or a silence long enough for a
proxy to lose patience, turns the response into a `text/event-stream` that is written piece by piece.
"""

from collections import deque
from collections.abc import Callable
from typing import Any, Final

import msgspec

from gateway import jsonrpc
from gateway.frontend.backlog import Backlog, Backlogs
from gateway.frontend.http_head import JSON, Fields, field_lines
from gateway.frontend.http_request import HttpRequest
from gateway.frontend.silence import Silence
from gateway.frontend.streams import Channel, event
from gateway.jsonrpc import Message
from gateway.request import Principal

MAX_BACKLOG: Final = 1024
"""Most notifications waiting for a client that does not read. Beyond it they are dropped."""
CHUNK: Final = 256 * 1024
"""Bytes that are written at a time, or one message."""

EVENTS: Final = "text/event-stream"
STREAM_LINES: Final = field_lines((("cache-control", "no-cache, no-transform"), ("x-accel-buffering", "no")))


def _nothing() -> None:
    """Where nobody wants to know."""


class EventStream:
    """The body of a `text/event-stream` response. What is pushed is written at once, unless the client has yet to read
    what was written before: then it is queued.

    Args:
        silence: has a comment sent when nothing was for a while.
        backlog: counts what is queued.
        on_over: called once, when everything is written, or there is nobody to read it.
    """

    __slots__ = ("_backlog", "_ended", "_on_over", "_opened", "_over", "_queue", "_request", "_silence")

    def __init__(
        self,
        request: HttpRequest,
        silence: Silence,
        backlog: Backlog | None = None,
        on_over: Callable[[], object] = _nothing,
    ) -> None:
        self._request = request
        self._silence = silence
        self._backlog = backlog if backlog is not None else Backlogs().open()
        self._on_over = on_over
        self._queue: deque[bytes] = deque()
        self._opened = self._ended = self._over = False

    @property
    def is_full(self) -> bool:
        """Whether notifications are dropped for now."""
        return len(self._queue) >= MAX_BACKLOG or not self._backlog.has_room(1)

    def open(self, headers: Fields = (), also: str = "") -> None:
        """Begin to write, with what was pushed until now; see `HttpRequest.start`."""
        self._opened = True
        self._backlog.stream_opened()
        self._request.on_writable = self._flush
        self._request.start(200, [("content-type", EVENTS), *headers], STREAM_LINES + also)
        self._silence.watch(self)
        self._flush()

    def push(self, data: bytes, *, must: bool = False) -> None:
        """Send data; never blocks. When the client does not read it is dropped; with `must`, the stream ends."""
        if self._over:
            return
        if self._opened and not self._queue and self._request.writable:
            self._write(data)
        elif self._backlog.has_room(len(data), must=must) and (must or len(self._queue) < MAX_BACKLOG):
            self._backlog.add(len(data))
            self._queue.append(data)
        elif must:
            self._backlog.lose()
            self._close()
            self._request.abort()

    def end(self) -> None:
        """What was pushed is all of it."""
        self._ended = True
        self._flush()

    def on_silence(self) -> None:
        if self._request.writable:
            self._request.write(b": keepalive\n\n")
        self._silence.watch(self)

    def _flush(self) -> None:
        """Write what is queued, as far as the client reads; called whenever it has read, or has left."""
        if self._request.gone:
            self._close()
        if self._over or not self._opened:
            return
        while self._queue and self._request.writable:
            self._write(self._take())
        if self._ended and not (self._queue or self._over):
            self._close()
            self._request.end()

    def _write(self, data: bytes) -> None:
        self._silence.watch(self)
        self._request.write(data)

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
        """Nothing is written any more."""
        if self._over:
            return
        self._over = self._ended = True
        self._queue.clear()
        self._backlog.clear()
        if self._opened:
            self._backlog.stream_closed()
        self._silence.forget(self)
        self._request.on_writable = None
        on_over, self._on_over = self._on_over, _nothing
        on_over()


class CallResponse(msgspec.Struct, eq=False):
    """Answers one request."""

    request: HttpRequest
    silence: Silence
    """Turns the response to a stream when nothing was said for a while; `watch` is its owner's business."""
    headers: dict[str, str]
    """For either form of the response; may be added to until it begins."""
    streams: bool
    """Whether the client accepts an event stream; if not, notifications have nowhere to go."""
    backlogs: Backlogs | None = None
    """Count what waits for the client."""
    principal: Principal | None = None
    """Who that is."""
    also: str = ""
    """Further headers, as `field_lines` makes them."""
    channel: Channel | None = None
    """The stream of a session that this is, if its client can come back for it."""
    prime: bool = False
    """Whether such a client is given an id to come back with before there is anything to say; its answer is then an
    event as well."""
    _stream: EventStream | None = None

    __repr__ = object.__repr__  # what it carries is nobody's but its agent's

    def notify(self, method: str, params: dict[str, Any] | None) -> None:
        """Send a notification ahead of the answer."""
        if self.streams and (self._stream is None or not self._stream.is_full):
            self.write(jsonrpc.notification(method, params), must=False)

    def write(self, message: Message, *, must: bool = True) -> None:
        """Send a message ahead of the answer."""
        stream = self._open()
        if self.channel is not None:
            self.channel.push(message, must=must)
        else:
            stream.push(event(message), must=must)

    def pause(self) -> None:
        """End the connection, but not the stream, where the client can come back for the rest."""
        if self.streams and self.prime and self.channel is not None:
            stream = self._open()
            self.channel.detach(stream)
            stream.end()

    def on_silence(self) -> None:
        if self.streams:
            self._open()

    def finish(self, answer: Message | list[Message] | None, status: int = 200) -> None:
        """Send the answer, or those to a batch; None for a request that was cancelled and is owed none."""
        if self._stream is not None:
            self._end(self._stream, answer)
            return
        self.silence.forget(self)
        channel, headers = self.channel, self.headers.items()
        if channel is not None:
            if self.prime and isinstance(answer, dict) and status == 200:
                self.request.reply(200, channel.answer(answer), headers, EVENTS, STREAM_LINES + self.also)
                return
            channel.end()
        body = jsonrpc.dumps_spliced(answer) if answer is not None else b""
        self.request.reply(status, body, headers, JSON, self.also)

    def _end(self, stream: EventStream, answer: Message | list[Message] | None) -> None:
        for one in answer if isinstance(answer, list) else [answer]:
            if one is not None:
                self.write(one)
        if self.channel is not None:
            self.channel.end()
        stream.end()

    def _open(self) -> EventStream:
        if self._stream is None:
            self.silence.forget(self)
            backlog = self.backlogs.open(self.principal) if self.backlogs is not None else None
            self._stream = EventStream(self.request, self.silence, backlog)
            if self.channel is not None:
                self.channel.attach(self._stream, 0, prime=self.prime)
            self._stream.open(self.headers.items(), self.also)
        return self._stream
