"""An incremental parser of server-sent events, linear in its input and bounded.

Pure: bytes in, events out. Source: https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream
"""

import re
from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

_USUAL: Final = re.compile(rb"(?:event: message\r?\n)?(?:id: ([^\0\r\n]{0,1024})\r?\n)?(?:event: message\r?\n)?data: ")
"""How a message as an event begins: as SDKs write it."""


class Event(msgspec.Struct, frozen=True):
    """One dispatched event. `data` is what the `data:` lines held, joined by newlines; it may be empty."""

    data: bytes
    name: bytes = b"message"
    id: bytes | None = None
    """None when the event carried no `id:`; empty when it carried one to say that the last no longer counts."""
    retry: int | None = None
    """Milliseconds to wait before reconnecting, when this event carried `retry:`."""


class EventTooLarge(Exception):
    """An event grew over the cap."""


class EventParser:
    """Feed it the body of a `text/event-stream` as it arrives.

    Args:
        cap: most bytes one event may have, field names and line ends included.
    """

    _after_cr = False
    _started = False
    _name = b"message"
    _id: bytes | None = None
    _retry: int | None = None
    _size = 0

    def __init__(self, cap: int) -> None:
        self._cap = cap
        self._line = bytearray()
        self._data: list[bytes] = []

    def _reset(self) -> None:
        self._data = []
        self._name = b"message"
        self._id = self._retry = None
        self._size = 0

    def feed(self, chunk: bytes) -> Iterable[Event]:
        """The events that `chunk` completes.

        Raises:
            EventTooLarge: the event under way is over the cap. May come between two events.
        """
        if not self._size and not self._after_cr and len(chunk) <= self._cap:
            event = usual_event(chunk)
            if event is not None:
                self._started = True
                return (event,)
        return self._parsed(chunk)

    def _parsed(self, chunk: bytes) -> Iterator[Event]:
        for line in self._lines(chunk):
            if line:
                self._field(line)
            elif (event := self._dispatch()) is not None:
                yield event

    def _lines(self, chunk: bytes) -> Iterator[bytes]:
        """Complete lines; LF, CRLF and CR all end one."""
        if self._after_cr and chunk.startswith(b"\n"):
            chunk, self._after_cr = chunk[1:], False
        if not chunk:
            return
        self._after_cr = chunk.endswith(b"\r")
        if 13 in chunk:
            chunk = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        *ended, rest = chunk.split(b"\n")
        for piece in ended:
            self._count(len(piece) + 1)
            if self._line:
                self._line += piece
                piece = bytes(self._line)
                self._line.clear()
            if not self._started:
                self._started = True
                piece = piece.removeprefix(b"\xef\xbb\xbf")
            yield piece
        self._count(len(rest))
        self._line += rest

    def _count(self, size: int) -> None:
        self._size += size
        if self._size > self._cap:
            raise EventTooLarge

    def _field(self, line: bytes) -> None:
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._data.append(value)
        elif name == b"event":
            self._name = value
        elif name == b"id":
            if 0 not in value:
                self._id = value
        elif name == b"retry" and value.isdigit() and len(value) < 10:
            self._retry = int(value)

    def _dispatch(self) -> Event | None:
        empty = not self._data and self._id is None and self._retry is None
        event = None if empty else Event(b"\n".join(self._data), self._name or b"message", self._id, self._retry)
        self._reset()
        return event


def usual_event(chunk: bytes) -> Event | None:
    """The event, if that is what `chunk` is, from its first byte to its last, and it is written as nearly all are: one
    line of data, and before it at most an id and the usual name."""
    begin = _USUAL.match(chunk)
    if begin is None:
        return None
    at = begin.end()
    if chunk.endswith(b"\r\n\r\n"):
        end = len(chunk) - 4
    elif chunk.endswith(b"\n\n"):
        end = len(chunk) - 2
    else:
        return None
    if chunk.find(b"\n", at, end) >= 0 or chunk.find(b"\r", at, end) >= 0:
        return None
    return Event(chunk[at:end], b"message", begin[1])
