"""A session's event streams: what each has carried, and the connection that carries it now.

A client whose connection broke, or was closed on purpose, comes back with the id of the last event it saw and hears the
rest of that stream, and of no other. Source: 2025-11-25, basic/transports, "Resumability and Redelivery".

The id of an event names the node and the run of it that the stream was on, and the request that it answers: who comes
back after a restart learns that the request was lost, and does not wait for ever.
"""

import base64
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from typing import Final, Protocol

import msgspec

from gateway import jsonrpc
from gateway.errors import InvalidRequest
from gateway.frontend.backlog import Backlog, Backlogs
from gateway.jsonrpc import Message, RequestId
from gateway.request import Principal

MAX_EVENTS: Final = 128
MAX_BYTES: Final = 128 * 1024
"""What is kept of a session's standing stream, of answers that were one piece, and of all other streams together; the
oldest goes first. One answer or question may be larger, as long as there is room for it among all that is kept."""
MAX_ANSWERS: Final = 32
"""Most answers that were one piece: it is on its way, or its client has it. (What is kept of all sessions is more than
the processor's cache holds, and each answer that is forgotten has to come from memory.)"""
MAX_NAMED: Final = 64
"""Characters of a request's id as text, which events name."""
RETRY_MS: Final = 1000
"""How soon a client whose connection ended should come back for the rest."""


def event(message: Message | list[Message], id: str | None = None) -> bytes:
    """One server-sent event that carries a message."""
    data = jsonrpc.dumps_spliced(message)
    if id is None:
        return b"event: message\ndata: %s\n\n" % data
    return b"id: %s\nevent: message\ndata: %s\n\n" % (id.encode(), data)


def priming(id: str) -> bytes:
    """An event without a message: now the client has an id to come back with."""
    return b"id: %s\nretry: %d\ndata: \n\n" % (id.encode(), RETRY_MS)


class StreamConnection(Protocol):
    """What carries a stream to its client."""

    def push(self, data: bytes, *, must: bool = False) -> None: ...
    def end(self) -> None: ...


class Channel(msgspec.Struct, eq=False):
    """One stream of a session. Made by `Streams`."""

    streams: "Streams"
    number: int
    sender: Principal | None = None
    """Whose request it answers; None on the standing stream."""
    request: RequestId | None = None
    """Which of theirs."""
    connection: StreamConnection | None = None
    ended: bool = False
    sent: int = 0
    """The last event that a connection took."""
    events: list[tuple[int, bytes]] = []
    waiting: dict[int, int] = {}
    """Hash of a message that goes out once → the event it is; the last of them, as far as no connection took it."""
    _name: str = ""
    """What the ids of its events begin with."""

    __repr__ = object.__repr__  # what it carries is nobody's but its agent's

    def id(self, event: int) -> str:
        name = self._name
        if not name:
            request = self.request
            of = "" if request is None else f"~{request if isinstance(request, int) else _named(request)}"
            self._name = name = f"{self.streams.run}{self.number}{of}-"
        return f"{name}{event}"

    def record(self, message: Message, *, must: bool = True, is_whole: bool = False) -> tuple[int, bytes]:
        """Number and keep an event.

        Args:
            is_whole: whether it is all that its stream ever says.
        """
        streams = self.streams
        number = streams.next_event()
        data = event(message, self.id(number))
        recorded = number, data
        if not streams.over:
            self.events.append(recorded)
            streams.keep(self, len(data), must, is_whole)
        return recorded

    def answer(self, message: Message) -> bytes:
        """All of a stream that says nothing but the answer, after an id to come back with. So it has ended."""
        first = priming(self.id(0))
        _, data = self.record(message, is_whole=True)
        self.ended = True
        if self.connection is not None or not self.events:
            self.end()
        return first + data

    def push(self, message: Message, *, must: bool = False, once: bool = False) -> None:
        """Send it now if there is a connection, and keep it for one that comes later; with `once`, not if the same
        waits for one already."""
        key = hash(jsonrpc.dumps(message)) if once and self.connection is None else None
        if key is not None and self._waits(key):
            return
        number, data = self.record(message, must=must)
        if key is not None:
            self._wait(key, number)
        if self.connection is not None:
            self.connection.push(data, must=must)
            self.sent = number

    def _waits(self, key: int) -> bool:
        number = self.waiting.get(key, 0)
        return number > self.sent and bool(self.events) and number >= self.events[0][0]

    def _wait(self, key: int, number: int) -> None:
        if len(self.waiting) >= 2 * MAX_EVENTS:
            oldest = max(self.sent + 1, self.events[0][0] if self.events else 0)
            self.waiting = {key: number for key, number in self.waiting.items() if number >= oldest}
        self.waiting[key] = number

    def attach(self, connection: StreamConnection, after: int | None = None, *, prime: bool) -> None:
        """Go on over this connection.

        Args:
            after: the last event that the client has seen; None for all that no connection has taken.
            prime: whether the client takes an event without a message.
        """
        if self.connection is not None:
            self.connection.end()
        after = self.sent if after is None else after
        if prime:
            connection.push(priming(self.id(after)))
        for number, data in self.events:
            if number > after:
                connection.push(data, must=True)
                self.sent = number
        if self.ended:
            connection.end()
        else:
            self.connection = connection

    def detach(self, connection: StreamConnection) -> None:
        """The connection is over; the stream is not."""
        if self.connection is connection:
            self.connection = None

    def end(self) -> None:
        """What was pushed is all of it."""
        self.ended = True
        if self.connection is not None:
            self.connection.end()
            self.connection = None
        self.streams.ended(self)


@dataclass(slots=True)
class _Kept:
    """Recorded events in their order, with their sizes. Lists, for an empty deque takes 600 bytes of each session."""

    events: list[tuple[Channel, int]] = field(default_factory=list[tuple[Channel, int]])
    size: int = 0


@dataclass(frozen=True, slots=True)
class FormerStream:
    """A stream of the same session from before the session was made anew here."""

    node: str
    """The node and the run that it was on, as `Node` has it."""
    is_standing: bool
    number: int
    event: int
    """The last event that its client has seen."""
    request: RequestId | None
    """What it answers, if that is known."""


class Streams:
    """All streams of one session. Number 0 is the standing one, which ends with the session.

    Args:
        backlog: counts what is kept.
        node: where they are, as `Node` has it.
    """

    def __init__(self, backlog: Backlog | None = None, node: str = "") -> None:
        self.over = False
        self.run = f"{node}." if node else ""
        """What the ids of their events begin with."""
        self._backlog = backlog if backlog is not None else Backlogs().open()
        self._numbers = count()
        self.next_event = count(1).__next__
        """Numbers events."""
        self._channels: dict[int, Channel] = {}
        self._kept, self._kept_of_standing, self._answers = _Kept(), _Kept(), _Kept()
        self.standing = self.open()

    def open(self, sender: Principal | None = None, request: RequestId | None = None) -> Channel:
        number = next(self._numbers)
        channel = self._channels[number] = Channel(self, number, sender, request)
        return channel

    def find(self, last_event_id: str) -> tuple[Channel, int] | FormerStream:
        """The stream that an event was on, and the event's number there.

        Raises:
            InvalidRequest: there is no such event, or it was too long ago.
        """
        run, _, place = last_event_id.rpartition(".")
        stream, _, event = place.rpartition("-")
        number, _, request = stream.partition("~")
        if _is_number(number) and _is_number(event):
            if run and f"{run}." != self.run:
                return FormerStream(run, number == "0", int(number), int(event), _unnamed(request))
            if f"{run}." == self.run or not self.run:
                channel = self._channels.get(int(number))
                if channel is not None:
                    return channel, int(event)
        raise no_such_event()

    def channel(self, number: int) -> Channel | None:
        """The stream of that number, if anything of it is kept."""
        return self._channels.get(number)

    def keep(self, channel: Channel, size: int, must: bool, is_whole: bool = False) -> None:
        """An event was recorded; forget the oldest if there is no room for it, and at last itself."""
        kept, most = self._kept, MAX_EVENTS
        if is_whole:
            kept, most = self._answers, MAX_ANSWERS
        elif channel is self.standing:
            kept = self._kept_of_standing
        events = kept.events
        events.append((channel, size))
        kept.size += size
        while len(events) > most or (kept.size > MAX_BYTES and (len(events) > 1 or not must)):
            self._forget(kept)
        backlog = self._backlog
        while (size := self._kept.size + self._kept_of_standing.size + self._answers.size) > backlog.size and events:
            if backlog.has_room(size - backlog.size, must=True):
                break
            self._forget(kept)
        if size != backlog.size:
            backlog.resize(size)

    def _forget(self, kept: _Kept) -> None:
        oldest, size = kept.events.pop(0)
        kept.size -= size
        oldest.events.pop(0)
        if oldest.ended:
            self.ended(oldest)

    def clear(self) -> None:
        """The session is over: nobody comes back."""
        self.over = True
        self._kept, self._kept_of_standing, self._answers = _Kept(), _Kept(), _Kept()
        self._channels.clear()
        self._backlog.clear()

    def ended(self, channel: Channel) -> None:
        """Forget a stream that has nothing more to say."""
        if channel.ended and not channel.events:
            self._channels.pop(channel.number, None)


def no_such_event() -> InvalidRequest:
    return InvalidRequest("Last-Event-ID names no event that is still kept. Send the request again.")


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= 20


def _named(request: RequestId) -> str:
    """A request's id as part of an event's; empty where it is too long."""
    text = base64.urlsafe_b64encode(jsonrpc.dumps(request)).decode().rstrip("=")
    return f"={text}" if len(text) <= MAX_NAMED else ""


def _unnamed(text: str) -> RequestId | None:
    """A request's id, from what `Channel.id` made of it; None for anything else."""
    if _is_number(text.removeprefix("-")):
        return int(text)
    if text.startswith("=") and len(text) <= MAX_NAMED + 1:
        with suppress(ValueError):
            id: object = jsonrpc.loads(base64.b64decode(text[1:] + "=" * (-len(text[1:]) % 4), b"-_", True))
            return id if jsonrpc.is_id(id) else None
    return None
