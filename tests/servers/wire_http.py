"""Streamable HTTP for the hand-written servers: one small asyncio server whose every byte can be someone else's."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus

from tests.servers.wire import (
    HANDSHAKE,
    MODERN,
    Message,
    Refusal,
    Service,
    decode,
    encode,
    error_body,
    is_enveloped,
    on_lines,
    params_of,
    unsupported,
)


@dataclass
class Exchange:
    """One HTTP request, and the socket to answer it on."""

    method: str
    target: str
    headers: dict[str, str]
    """Names in lower case."""
    body: bytes
    writer: asyncio.StreamWriter
    server: "HttpServer"

    def json(self) -> Message:
        return decode(self.body)

    async def write(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def head(self, status: int, headers: Mapping[str, str]) -> None:
        lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", *(f"{k}: {v}" for k, v in headers.items())]
        await self.write("\r\n".join([*lines, "", ""]).encode())

    async def send(
        self, status: int, body: bytes = b"", headers: Mapping[str, str] | None = None, type: str = "application/json"
    ) -> None:
        """A whole response."""
        fields = ({"Content-Type": type} if body else {}) | {"Content-Length": str(len(body))} | dict(headers or {})
        await self.head(status, fields)
        await self.write(body)

    async def send_stream(self, chunks: AsyncIterator[bytes], headers: Mapping[str, str] | None = None) -> None:
        """A response of server-sent events, one HTTP chunk for each item."""
        fields = {"Content-Type": "text/event-stream", "Transfer-Encoding": "chunked"} | dict(headers or {})
        await self.head(200, fields)
        async for chunk in chunks:
            await self.write(b"%x\r\n%b\r\n" % (len(chunk), chunk))
        await self.write(b"0\r\n\r\n")


Intercept = Callable[[Exchange, Message], Awaitable[bool]]
"""Sees each request message first; True when it has dealt with it."""


async def _pass(exchange: Exchange, message: Message) -> bool:
    return False


async def event(reply: Message) -> AsyncIterator[bytes]:
    lines = on_lines(encode(reply)).splitlines()
    yield b"event: message\n%b\n" % b"".join(b"data: %b\n" % line for line in lines)


@dataclass
class HttpServer:
    """Streamable HTTP at every path: sessions in the handshake era, one exchange per request in the modern one."""

    service: Service
    stream: bool = False
    """Answer with server-sent events instead of JSON."""
    intercept: Intercept = _pass
    sessions: set[str] = field(default_factory=set[str])

    async def serve(self, port: int) -> None:
        listener = await asyncio.start_server(self._connection, "127.0.0.1", port)
        await listener.serve_forever()

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while not writer.is_closing():
                await self._exchange(await self._read(reader, writer))
        writer.close()

    async def _read(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Exchange:
        start, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").splitlines()
        method, target, _ = start.split(" ", 2)
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        return Exchange(method, target, headers, body, writer, self)

    async def _exchange(self, exchange: Exchange) -> None:
        if exchange.method == "DELETE":
            self.sessions.discard(exchange.headers.get("mcp-session-id", ""))
            await exchange.send(200)
        elif exchange.method != "POST":
            await exchange.send(405, headers={"Allow": "POST"})
        else:
            await self._post(exchange, exchange.json())

    async def _post(self, exchange: Exchange, message: Message) -> None:
        version = exchange.headers.get("mcp-protocol-version", HANDSHAKE[1])
        modern, session = version == MODERN, exchange.headers.get("mcp-session-id")
        opening = message.get("method") == "initialize"
        if modern and self.service.era == "handshake":
            await exchange.send(400, error_body(Refusal(-32600, f"Bad Request: unknown version {version}")))
        elif not modern and self.service.era == "modern":
            await exchange.send(400, error_body(unsupported(version), message.get("id")))
        elif not modern and not opening and session not in self.sessions:
            known = 404 if session else 400
            await exchange.send(known, error_body(Refusal(-32600, "Session not found"), message.get("id")))
        elif "method" not in message or "id" not in message:
            await exchange.send(202)
        elif not await self.intercept(exchange, message):
            await self.reply(exchange, message)

    async def reply(self, exchange: Exchange, message: Message) -> None:
        """The service's own answer."""
        reply = self.service.answer(message) or {}
        headers: dict[str, str] = {}
        if message["method"] == "initialize" and "result" in reply:
            headers["Mcp-Session-Id"] = uuid.uuid4().hex
            self.sessions.add(headers["Mcp-Session-Id"])
        code = reply.get("error", {}).get("code") if is_enveloped(params_of(message)) else None
        status = 404 if code == -32601 else 400 if code else 200
        if self.stream and status == 200:
            await exchange.send_stream(event(reply), headers)
        else:
            await exchange.send(status, on_lines(encode(reply)), headers)
