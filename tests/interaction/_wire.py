"""The plainest of agents: JSON out, JSON in, at every front and in either era. For what the SDK's client would hide.

It blocks, but nothing here waits longer than `SECONDS`: what never comes is a failure and not a hang.
"""

import os
import select
import subprocess
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any, Final, Protocol

from tests.servers.peers import ENVELOPE, OPENING, SECONDS
from tests.servers.wire import decode, encode
from tests.support import run_process

Message = dict[str, Any]

INITIALIZED: Final[Message] = {"jsonrpc": "2.0", "method": "notifications/initialized"}

_ids: Final = count(1)


def request(method: str, params: Message | None = None, *, modern: bool = False, id: Any = None) -> Message:
    """A request of either era, with an id of its own unless one is given; `params._meta` adds to the
    envelope of the modern one."""
    params = dict(params or {})
    if modern:
        params["_meta"] = {**ENVELOPE["_meta"], **params.get("_meta", {})}
    return {"jsonrpc": "2.0", "id": next(_ids) if id is None else id, "method": method, "params": params}


@dataclass(frozen=True)
class Answer:
    """The answer to a request, and what came before it on the same way."""

    message: Message
    before: list[Message]

    @property
    def own(self) -> list[Message]:
        """Of what came before, all but the news of lists: a connection of the handshake era may hear it at any time."""
        return [one for one in self.before if not one["method"].endswith("/list_changed")]

    @property
    def result(self) -> Message:
        assert "result" in self.message, self.message
        return self.message["result"]

    @property
    def error(self) -> Message:
        assert "error" in self.message, self.message
        return self.message["error"]


class Channel(Protocol):
    """How one front carries messages."""

    def exchange(self, message: Message) -> Iterator[Message]:
        """Send a request; yields what comes, up to its answer."""
        ...


@dataclass(frozen=True)
class Wire:
    """An agent at one front, in one era, past its handshake."""

    channel: Channel
    modern: bool

    def ask(self, method: str, params: Message | None = None, *, id: Any = None) -> Answer:
        *before, answer = self.channel.exchange(request(method, params, modern=self.modern, id=id))
        return Answer(answer, before)

    def call(self, tool: str, /, **arguments: Any) -> Answer:
        return self.ask("tools/call", {"name": tool, "arguments": arguments})

    def listed(self, method: str, key: str) -> list[Message]:
        """The items of all pages of a list."""
        items: list[Message] = []
        params: Message = {}
        while True:
            result = self.ask(method, params).result
            items += result[key]
            if "nextCursor" not in result:
                return items
            params = {"cursor": result["nextCursor"]}


def until_answer(receive: Callable[[], Message], id: Any) -> Iterator[Message]:
    """Messages of a channel on which everything comes in one order, up to the answer to one request."""
    while True:
        message = receive()
        yield message
        if "method" not in message and message["id"] == id:
            return


class Pipe:
    """A program's stdin and stdout, one message a line."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self.process = process
        self.stdin, self.stdout = process.stdin, process.stdout
        self._rest = b""

    def send(self, message: Message | bytes) -> None:
        """A message, or a line that need not be one."""
        data = message if isinstance(message, bytes) else encode(message)
        self.stdin.write(data + b"\n")
        self.stdin.flush()

    def receive(self) -> Message:
        """The next message."""
        line = self.line()
        assert line, "the stream has ended"
        return decode(line)

    def line(self) -> bytes:
        """The next line; empty at the end of the stream."""
        while b"\n" not in self._rest:
            assert select.select([self.stdout], [], [], SECONDS)[0], f"nothing more than {self._rest[:1000]!r}"
            chunk = os.read(self.stdout.fileno(), 1 << 20)
            if not chunk:
                return b""
            self._rest += chunk
        line, _, self._rest = self._rest.partition(b"\n")
        return line

    def exchange(self, message: Message) -> Iterator[Message]:
        self.send(message)
        yield from until_answer(self.receive, message["id"])


@contextmanager
def piped(args: list[str], env: Mapping[str, str] | None = None) -> Generator[Pipe]:
    """Run a program, and talk to it. `env` is added to this process's environment."""
    with run_process(args, piped=True, env=env) as process:
        yield Pipe(process)


class Ordered(Channel, Protocol):
    """A channel that is a connection."""

    def send(self, message: Message) -> None: ...


def shake_hands(channel: Ordered) -> None:
    """What a connection of the handshake era begins with."""
    *_, answer = channel.exchange(request("initialize", OPENING))
    assert answer["result"]["protocolVersion"] == OPENING["protocolVersion"]
    channel.send(INITIALIZED)
