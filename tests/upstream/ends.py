"""The ends of a connection that tests hold: who hears an upstream, and servers whose every byte a test decides."""

import asyncio
import json
import ssl
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final

import anyio
from anyio.abc import ByteStream, SocketAttribute, TaskGroup
from anyio.streams.buffered import BufferedByteReceiveStream
from anyio.streams.tls import TLSListener

from gateway import jsonrpc
from gateway.call import Call, ClientRequester
from gateway.config.models import ServerConfig
from gateway.errors import MethodNotFound, UpstreamTimeout
from gateway.pipeline import attempt
from gateway.request import Agent, Notify, Principal
from gateway.server.agents import ConnectedAgent
from gateway.upstream.audience import Audience
from gateway.upstream.guardian import Guardian
from gateway.upstream.link import Link
from gateway.upstream.listing import Listing
from gateway.upstream.session import Negotiated, UpstreamSession
from gateway.upstream.timing import USUAL, UpstreamTiming
from gateway.upstream.transport.http import HttpDispatcher, HttpEndpoint
from gateway.upstream.transport.process import Program
from gateway.upstream.transport.sse import SseDispatcher
from gateway.upstream.transport.stderr import StderrLog
from gateway.upstream.transport.stdio import StdioDispatcher
from gateway.upstream.transport.table import CallTable
from gateway.upstream.upstream import Upstream
from tests.servers.wire import Message, Method, Service, encode
from tests.support import ROOT, command

DEADLINE: Final = 10.0
"""Seconds that anything in a test may take before it counts as hung."""


def nobody() -> ConnectedAgent:
    """An agent of no principal's."""
    return ConnectedAgent(Principal("", method="none"), None, "2025-11-25")


def _unheard(method: str, params: dict[str, Any] | None) -> None: ...


async def ask(
    upstream: Upstream,
    method: str,
    params: dict[str, Any],
    *,
    agent: Agent | None = None,
    client_requester: ClientRequester | None = None,
    hear: Notify = _unheard,
    progress: bool = False,
) -> dict[str, Any]:
    """A request of an agent's, as the pipeline sends it.

    Args:
        client_requester: answers what the upstream asks on its behalf.
        hear: hears what else it says.
        progress: whether that is to be its progress, too.
    """
    own = {**params, "_meta": {"progressToken": "p"}} if progress else params
    agent = agent or nobody()
    call = Call(1, method, own, agent, agent.opener, hear)
    call.client_requester = client_requester
    return jsonrpc.opened(await attempt(upstream, call, params))


class Heard(Call, eq=False):
    """A call whose notifications are heard as they came."""

    def on_notification(self, method: str, params: dict[str, Any] | None) -> None:
        self.notify(method, params)


async def exchange(
    table: CallTable,
    method: str,
    params: dict[str, Any],
    hear: Notify,
    *,
    timeout: float = DEADLINE,
    max_timeout: float = 10 * DEADLINE,
    spent: float = 0.0,
    progress: bool = False,
) -> dict[str, Any]:
    """A request and its answer over one connection, as the pipeline has it."""
    agent, own = nobody(), {"_meta": {"progressToken": "p"}} if progress else {}
    call = Heard(1, method, own, agent, agent.opener, hear)
    pending = table.send(
        call, method, params, timeout, max_timeout, asyncio.get_running_loop().time() - spent, {}, progress
    )
    try:
        return jsonrpc.opened(await pending.future)
    except (asyncio.CancelledError, UpstreamTimeout):
        table.withdraw(pending)
        raise
    finally:
        table.end(pending)


class Ears:
    """A `MessageHandler` that remembers what it hears, and answers `ping`."""

    def __init__(self) -> None:
        self.notifications: list[tuple[str, dict[str, Any] | None]] = []
        self.noise: list[str] = []
        self.asked: list[str] = []

    def on_notification(self, method: str, params: dict[str, Any] | None, audience: Audience) -> None:
        self.notifications.append((method, params))

    async def on_request(self, method: str, params: dict[str, Any] | None, audience: Audience) -> dict[str, Any]:
        self.asked.append(method)
        if method == "wait":
            await anyio.sleep_forever()
        if method != "ping":
            raise MethodNotFound(method)
        return {}

    def on_noise(self, text: str) -> None:
        self.noise.append(text)


# --- Bytes ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Got:
    """One HTTP request as it arrived."""

    method: str
    target: str
    headers: dict[str, str]
    """Names in lower case."""
    body: bytes
    stream: ByteStream
    connection: int
    """Which of the server's connections it came on, from 1."""

    def json(self) -> Message:
        return json.loads(self.body)

    async def send(self, *pieces: bytes) -> None:
        for piece in pieces:
            await self.stream.send(piece)

    async def drop(self) -> None:
        """Break the connection."""
        await anyio.aclose_forcefully(self.stream)


Script = Callable[[Got], Awaitable[None]]


@dataclass
class ByteServer:
    """An HTTP server whose answers are a script's bytes."""

    script: Script
    url: str = ""
    got: list[Got] = field(default_factory=list[Got])
    connections: int = 0
    open: int = 0
    """Connections that are open now."""
    stop: anyio.CancelScope = field(default_factory=anyio.CancelScope)

    async def close(self) -> None:
        """Stop, with all connections."""
        self.stop.cancel()
        while self.open:
            await anyio.lowlevel.checkpoint()

    async def serve(self, stream: ByteStream) -> None:
        self.connections += 1
        self.open += 1
        number = self.connections
        try:
            with suppress(
                anyio.EndOfStream, anyio.IncompleteRead, anyio.BrokenResourceError, anyio.ClosedResourceError
            ):
                await self._answer(stream, number)
        finally:
            self.open -= 1
            await anyio.aclose_forcefully(stream)

    async def _answer(self, stream: ByteStream, number: int) -> None:
        reader = BufferedByteReceiveStream(stream)
        while True:
            head = (await reader.receive_until(b"\r\n\r\n", 1 << 20)).decode("latin-1")
            start, *lines = head.split("\r\n")
            method, target, _ = start.split(" ", 2)
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
            body = await reader.receive_exactly(int(headers.get("content-length", 0)))
            got = Got(method, target, headers, body, stream, number)
            self.got.append(got)
            await self.script(got)


@asynccontextmanager
async def byte_server(script: Script, tls: ssl.SSLContext | None = None) -> AsyncGenerator[ByteServer]:
    """Serve on a free port until the block ends."""
    server = ByteServer(script)
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port = listener.extra(SocketAttribute.local_port)
    server.url = f"{'https' if tls else 'http'}://127.0.0.1:{port}/mcp"
    accepting = TLSListener(listener, tls, standard_compatible=False) if tls else listener

    async def serve() -> None:
        with server.stop:
            async with accepting:
                await accepting.serve(server.serve)

    async with anyio.create_task_group() as tg:
        tg.start_soon(serve)
        try:
            yield server
        finally:
            tg.cancel_scope.cancel()


def response(
    body: bytes = b"", status: str = "200 OK", headers: Mapping[str, str] | None = None, type: str = "application/json"
) -> bytes:
    """A whole HTTP response."""
    fields = ({"Content-Type": type} if body else {}) | {"Content-Length": str(len(body))} | dict(headers or {})
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"HTTP/1.1 {status}\r\n{head}\r\n".encode() + body


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


STREAM_HEAD: Final = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
LAST_CHUNK: Final = b"0\r\n\r\n"


def event(message: Message, id: str | None = None) -> bytes:
    """A chunk of one event."""
    return chunk((f"id: {id}\n".encode() if id else b"") + b"data: %b\n\n" % encode(message))


# --- MCP -----------------------------------------------------------------------------------------------------------


def call(params: dict[str, Any]) -> dict[str, Any]:
    """What tools do unless a test says otherwise: answer with their name."""
    return {"content": [{"type": "text", "text": params["name"]}]}


def service(era: str, **methods: Method) -> Service:
    tools: Method = lambda params: {"tools": [{"name": "a", "inputSchema": {"type": "object"}}]}  # noqa: E731
    return Service("up", {"tools/list": tools, "tools/call": call} | methods, era)


@dataclass
class Mcp:
    """A script that speaks MCP, but for what `on` takes over. In the handshake era it has one session at a time."""

    service: Service
    on: dict[str, Script] = field(default_factory=dict[str, Script])
    """By JSON-RPC method, by tool, or by HTTP method for GET and DELETE."""
    session: int = 0
    heard: list[Message] = field(default_factory=list[Message])
    """All messages, in order."""

    async def __call__(self, got: Got) -> None:
        if got.method != "POST":
            status = "200 OK" if got.method == "DELETE" else "405 Method Not Allowed"
            await (self.on[got.method](got) if got.method in self.on else got.send(response(status=status)))
            return
        message = got.json()
        self.heard.append(message)
        method = message.get("method", "")
        tool = message["params"]["name"] if method == "tools/call" else ""
        script = self.on.get(tool) or self.on.get(method) or self.answer
        await script(got)

    async def answer(self, got: Got) -> None:
        """As a good server does."""
        message = got.json()
        headers: dict[str, str] = {}
        if message.get("method") == "initialize" and self.service.era != "modern":
            self.session += 1
            headers["Mcp-Session-Id"] = f"session-{self.session}"
        elif self.service.era == "handshake" and got.headers.get("mcp-session-id") != f"session-{self.session}":
            await got.send(response(status="404 Not Found" if "mcp-session-id" in got.headers else "400 Bad Request"))
            return
        reply = self.service.answer(message)
        await got.send(response(encode(reply), headers=headers) if reply else response(status="202 Accepted"))

    def methods(self) -> list[str]:
        """The methods of all messages heard, without the connection's opening and answers to questions."""
        others = (None, "server/discover", "initialize", "notifications/initialized")
        return [message["method"] for message in self.heard if message.get("method") not in others]


def reply_to(got: Got, text: str = "here") -> Message:
    """A tool's answer to the request that `got` brought."""
    return {"jsonrpc": "2.0", "id": got.json()["id"], "result": {"content": [{"type": "text", "text": text}]}}


def text_of(result: dict[str, Any]) -> str:
    return result["content"][0]["text"]


@dataclass
class Up:
    """A negotiated session with an upstream."""

    session: UpstreamSession
    ears: Ears
    agreed: Negotiated
    dispatcher: Any
    """Of the type that belongs to the transport."""

    async def call(self, tool: str, arguments: dict[str, Any] | None = None, **options: Any) -> str:
        """The text a tool answers with."""
        return text_of(await self.ask(tool, arguments, **options))

    async def ask(self, tool: str, arguments: dict[str, Any] | None = None, **options: Any) -> dict[str, Any]:
        given: Any = {"timeout": DEADLINE, **options}
        return await self.session.request("tools/call", {"name": tool, "arguments": arguments or {}}, given)


def lone(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """What a group of one is about."""
    first = group.exceptions[0]
    if len(group.exceptions) > 1:
        return group
    return lone(first) if isinstance(first, BaseExceptionGroup) else first  # pyright: ignore[reportUnknownArgumentType]


@asynccontextmanager
async def _negotiated(
    dispatcher: Any,
    ears: Ears,
    probe: bool,
    capabilities: Mapping[str, Any] | None = None,
    timing: UpstreamTiming = USUAL,
) -> AsyncGenerator[Up]:
    try:
        async with UpstreamSession(dispatcher, capabilities or {}, timing) as session:
            yield Up(session, ears, await session.negotiate(DEADLINE, probe=probe), dispatcher)
    except BaseExceptionGroup as group:
        raise lone(group) from None


@asynccontextmanager
async def connected(
    url: str,
    *,
    probe: bool = True,
    capabilities: Mapping[str, Any] | None = None,
    timing: UpstreamTiming = USUAL,
    **endpoint: Any,
) -> AsyncGenerator[Up]:
    """Our own HTTP client, negotiated with the server at `url`."""
    ears = Ears()
    dispatcher = HttpDispatcher("up", HttpEndpoint(url, **endpoint), ears, timing)
    try:
        async with _negotiated(dispatcher, ears, probe, capabilities, timing) as up:
            yield up
    finally:
        await dispatcher.aclose()


@asynccontextmanager
async def legacy(url: str, **endpoint: Any) -> AsyncGenerator[Up]:
    """Our client of the older HTTP+SSE transport."""
    ears = Ears()
    dispatcher = SseDispatcher("up", HttpEndpoint(url, **endpoint), ears)
    async with _negotiated(dispatcher, ears, probe=False) as up:
        yield up


def fixture(module: str, *args: str, **env: str) -> Program:
    """One of `tests.servers` as a program."""
    executable, *rest = command(f"tests.servers.{module}", *args)
    return Program(executable, rest, env, ROOT)


@asynccontextmanager
async def spawned(
    program: Program, *, probe: bool = True, cap: int = 16 << 20, timing: UpstreamTiming = USUAL
) -> AsyncGenerator[Up]:
    """Our own stdio client, negotiated with a program. Its stderr is heard as noise."""
    ears, guardian = Ears(), Guardian()
    stderr = StderrLog(lambda line, suppressed: ears.on_noise(f"stderr: {line} ({suppressed})"), time.monotonic)
    dispatcher = StdioDispatcher("up", ears, stderr, cap, timing)
    try:
        await dispatcher.start(program, guardian)
        async with _negotiated(dispatcher, ears, probe) as up:
            yield up
    finally:
        await dispatcher.aclose()
        await guardian.aclose()


# --- Supervision ---------------------------------------------------------------------------------------------------


class Hears:
    """An `Observer` that remembers."""

    def __init__(self) -> None:
        self.listings: list[Listing | None] = []
        self.announced: list[set[str]] = []
        self.updated: list[str] = []
        self.logged: list[Any] = []

    async def on_listing(self, upstream: Upstream, announced: Collection[str]) -> None:
        self.listings.append(upstream.listing)
        self.announced.append(set(announced))

    def on_resource_updated(self, upstream: str, uri: str, audience: Audience) -> None:
        self.updated.append(uri)

    def on_message(self, upstream: str, method: str, params: dict[str, Any], audience: Audience) -> None:
        if method == "notifications/message":
            self.logged.append(params["data"])

    def on_sight(self) -> None: ...

    def on_own_process(self, upstream: str, agent: Agent) -> None: ...

    @property
    def tools(self) -> list[str]:
        """The names of the tools there were when last heard."""
        listing = self.listings[-1] if self.listings else None
        return [tool["name"] for tool in listing.tools] if listing is not None else []


def config(program: Program | str, **settings: Any) -> ServerConfig:
    """The entry of a program, or of a URL."""
    if isinstance(program, str):
        return ServerConfig.model_validate({"url": program, **settings})
    way_in = {"command": program.command, "args": program.args, "env": program.env}
    return ServerConfig.model_validate({**way_in, "cwd": program.cwd and str(program.cwd), **settings})


@asynccontextmanager
async def supervised(*upstreams: Upstream | Link) -> AsyncGenerator[TaskGroup]:
    """Run them until the block ends."""
    async with anyio.create_task_group() as tg:
        for upstream in upstreams:
            tg.start_soon(upstream.run)
        try:
            with anyio.fail_after(3 * DEADLINE):
                yield tg
        finally:
            tg.cancel_scope.cancel()
