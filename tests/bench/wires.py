"""How the load travels, at little cost: Streamable HTTP in both eras, the older HTTP+SSE, and stdio."""

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, cast
from urllib.parse import urlsplit

import httptools
import orjson

from tests.bench.answers import MODERN
from tests.bench.load import LONGEST_ANSWER, Agent, Wrong
from tests.bench.processes import TESTED_CPU, on_cpu
from tests.servers.peers import OPENING
from tests.support import ROOT

INITIALIZED: Final = b'{"jsonrpc":"2.0","method":"notifications/initialized"}'
Dialect = Literal["handshake", "modern", "sse"]


def opening(version: str = OPENING["protocolVersion"]) -> bytes:
    params = OPENING | {"protocolVersion": version}
    return orjson.dumps({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params})


@dataclass(frozen=True)
class Address:
    url: str
    headers: tuple[str, ...] = ()
    """Further lines, a credential for example."""

    @property
    def host(self) -> str:
        return urlsplit(self.url).hostname or ""

    @property
    def port(self) -> int:
        return urlsplit(self.url).port or 80

    @property
    def path(self) -> str:
        parts = urlsplit(self.url)
        return parts.path + (f"?{parts.query}" if parts.query else "")


async def connected(address: Address, dialect: Dialect, method: str, tool: str) -> "HttpAgent | SseAgent":
    """An agent past its handshake, who will ask `method` of `tool`, if it is tools/call."""
    agent = SseAgent(address) if dialect == "sse" else HttpAgent(address, address.path)
    await asyncio.wait_for(agent.open(dialect == "modern", method, tool), LONGEST_ANSWER)
    return agent


class HttpAgent(Agent, asyncio.Protocol):
    """A connection that is kept alive, with one request in flight at a time."""

    def __init__(self, address: Address, path: str) -> None:
        super().__init__()
        self._address, self._path = address, path
        self._own = b""
        self._head = b""
        self.body = b""
        """Of the last response."""
        self.progressed = 0.0
        """When its progress came; 0 if none did."""

    # --- The connection -------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._parser = httptools.HttpResponseParser(self)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.broken(f"the connection was closed ({exc})")

    def on_message_begin(self) -> None:
        self.body, self._headers, self.progressed = b"", dict[bytes, bytes](), 0.0

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.lower()] = value

    def on_body(self, body: bytes) -> None:
        if not self.progressed and b"notifications/progress" in body:
            self.progressed = time.perf_counter()
        self.body = self.body + body if self.body else body

    def on_message_complete(self) -> None:
        if self._parser.get_status_code() not in (200, 202):
            self.broken(f"HTTP {self._parser.get_status_code()} {self.body[:200]!r}")
        elif self._headers.get(b"content-type", b"").startswith(b"text/event-stream"):
            self.answered(events(self.body)[-1])
        else:
            self.answered(self.body)

    # --- Requests -------------------------------------------------------------------------------------------------

    def send(self, body: bytes) -> None:
        self._transport.write(self._head % len(body) + body)

    async def connect(self) -> None:
        loop = asyncio.get_running_loop()
        await loop.create_connection(lambda: self, self._address.host, self._address.port)

    def beside(self) -> "HttpAgent":
        """Another, not yet connected, in the same session or era."""
        other = HttpAgent(self._address, self._path)
        other._own, other._head = self._own, self._head
        return other

    def name(self, tool: str, method: str = "tools/call") -> None:
        """What is asked next, in the modern era."""
        name = f"Mcp-Name: {tool}\r\n" if method == "tools/call" else ""
        self._own = f"MCP-Protocol-Version: {MODERN}\r\nMcp-Method: {method}\r\n{name}".encode()
        self._write_head("POST")

    async def open(self, modern: bool, method: str, tool: str) -> None:
        await self.connect()
        if modern:
            self.name(tool, method)
        else:
            self._write_head("POST")
            version = orjson.loads(await self.exchange(opening()))["result"]["protocolVersion"]
            self._own = b"MCP-Protocol-Version: %b\r\n" % version.encode()
            if session := self._headers.get(b"mcp-session-id"):
                self._own += b"Mcp-Session-Id: %b\r\n" % session
            self._write_head("POST")
            await self.exchange(INITIALIZED)

    def _write_head(self, method: str) -> None:
        lines = [
            f"{method} {self._path} HTTP/1.1",
            f"Host: {self._address.host}:{self._address.port}",
            "Accept: application/json, text/event-stream",
            "Content-Type: application/json",
            *self._address.headers,
        ]
        self._head = "\r\n".join(lines).encode() + b"\r\n" + self._own + b"Content-Length: %d\r\n\r\n"

    async def aclose(self) -> None:
        if b"Mcp-Session-Id" in self._own:
            self._write_head("DELETE")
            await self.exchange(b"")
        self.close()

    def close(self) -> None:
        self.broken = lambda why: None
        self._transport.close()


class SseAgent(Agent):
    """The transport of 2024-11-05, for peers that have nothing newer: a stream of events, and an address to post to."""

    def __init__(self, address: Address) -> None:
        super().__init__()
        self.address = address
        self._reply: bytes | None = None
        self._accepted = False

    async def open(self, modern: bool, method: str, tool: str) -> None:
        loop = asyncio.get_running_loop()
        endpoint: asyncio.Future[bytes] = loop.create_future()
        self.answered = endpoint.set_result
        self._events = EventStream(self)
        await loop.create_connection(lambda: self._events, self.address.host, self.address.port)
        self._post = HttpAgent(self.address, (await endpoint).decode())
        await self._post.open(True, method, tool)
        self._post.broken = lambda why: self.broken(why)
        self._post.answered = lambda _: self._arrived(accepted=True)
        await self.exchange(opening("2024-11-05"))
        self._reply = b"none is owed"
        await self.exchange(INITIALIZED)

    def send(self, body: bytes) -> None:
        self._post.send(body)

    def on_event(self, kind: bytes, data: bytes) -> None:
        if kind == b"endpoint":
            self.answered(data)
        elif b'"id":' in data and b'"method":' not in data[:40]:
            self._arrived(reply=data)

    def _arrived(self, *, reply: bytes | None = None, accepted: bool = False) -> None:
        """The answer has come when both have: the event, and the response to the POST."""
        self._reply = reply or self._reply
        self._accepted = accepted or self._accepted
        if self._accepted and self._reply is not None:
            whole, self._reply, self._accepted = self._reply, None, False
            self.answered(whole)

    async def aclose(self) -> None:
        self.broken = lambda why: None
        self._events.close()
        await self._post.aclose()


class EventStream(asyncio.Protocol):
    """What comes in answer to the GET."""

    def __init__(self, agent: SseAgent) -> None:
        self._agent = agent
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._parser = httptools.HttpResponseParser(self)
        address = self._agent.address
        host = f"{address.host}:{address.port}"
        self._transport.write(
            f"GET {address.path} HTTP/1.1\r\nHost: {host}\r\nAccept: text/event-stream\r\n\r\n".encode()
        )

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._agent.broken(f"the stream was closed ({exc})")

    def on_body(self, body: bytes) -> None:
        *whole, self._rest = (self._rest + body).replace(b"\r\n", b"\n").split(b"\n\n")
        for event in whole:
            kind, data = b"message", b""
            for line in event.split(b"\n"):
                if line.startswith(b"event:"):
                    kind = line[6:].strip()
                elif line.startswith(b"data:"):
                    data += line[5:].strip()
            if data:
                self._agent.on_event(kind, data)

    def close(self) -> None:
        self._transport.close()


class Pipe(asyncio.SubprocessProtocol):
    """A stdio server of which several agents ask at a time; each answer goes to who asked."""

    def __init__(self) -> None:
        self._rest = b""
        self._askers: dict[int, Callable[[bytes], None]] = {}
        self._agents: list[PipeAgent] = []
        self.pid = 0

    @classmethod
    async def start(cls, argv: Sequence[str], log: Path) -> "Pipe":
        """Start it on the CPU of what is tested."""
        loop = asyncio.get_running_loop()
        with log.open("ab") as errors, on_cpu(TESTED_CPU):
            transport, pipe = await loop.subprocess_exec(cls, *argv, stderr=errors, cwd=ROOT)
        pipe.pid = transport.get_pid()
        return pipe

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.SubprocessTransport, transport)
        self._stdin = cast(asyncio.WriteTransport, self._transport.get_pipe_transport(0))
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            id = orjson.loads(line).get("id")
            if asker := self._askers.pop(id, None):
                asker(line)

    def process_exited(self) -> None:
        self._ended.set_result(None)
        for agent in self._agents:
            agent.broken("the process ended")

    def write(self, body: bytes) -> None:
        self._stdin.write(body + b"\n")

    def ask(self, body: bytes, id: int, asker: Callable[[bytes], None]) -> None:
        self._askers[id] = asker
        self.write(body)

    async def open(self, wanted: int = 1) -> None:
        """The handshake, and the list of tools as soon as there are so many."""
        await self._exchange(opening(), 0)
        self.write(INITIALIZED)
        deadline = time.monotonic() + LONGEST_ANSWER
        number, tools = -1, list[Any]()
        while len(tools) < wanted:
            if time.monotonic() > deadline:
                raise Wrong(f"{len(tools)} tools instead of {wanted}")
            asked = b'{"jsonrpc":"2.0","id":%d,"method":"tools/list","params":{}}' % number
            answer = json.loads(await self._exchange(asked, number))
            number, tools = number - 1, answer["result"]["tools"]

    async def _exchange(self, body: bytes, id: int) -> bytes:
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self.ask(body, id, answer.set_result)
        return await asyncio.wait_for(answer, LONGEST_ANSWER)

    def agents(self, number: int) -> "list[PipeAgent]":
        self._agents = [PipeAgent(self) for _ in range(number)]
        return self._agents

    async def aclose(self) -> None:
        for agent in self._agents:
            agent.broken = lambda why: None
        self._stdin.close()
        try:
            await asyncio.wait_for(asyncio.shield(self._ended), 5)
        except TimeoutError:
            self._transport.kill()
            await self._ended


class PipeAgent(Agent):
    def __init__(self, pipe: Pipe) -> None:
        super().__init__()
        self._pipe = pipe

    def send(self, body: bytes) -> None:
        self._pipe.ask(body, orjson.loads(body)["id"], lambda line: self.answered(line))

    async def aclose(self) -> None: ...


def events(body: bytes) -> list[bytes]:
    """The data of each event that has some."""
    found: list[bytes] = []
    for event in body.replace(b"\r\n", b"\n").split(b"\n\n"):
        lines = [line[5:].strip() for line in event.split(b"\n") if line.startswith(b"data:")]
        if data := b"\n".join(lines):
            found.append(data)
    return found
