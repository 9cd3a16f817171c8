"""A tiny HTTP client that posts over connections kept alive: the cheapest that Python can do."""

import asyncio
from typing import cast
from urllib.parse import urlsplit

import httptools

Reply = tuple[int, bytes, bytes, bytes]
"""Status, content type, body, session id."""


class _Connection(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self._parser = httptools.HttpResponseParser(self)
        self.reply: asyncio.Future[Reply] | None = None
        self.closed = False

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        if self.reply and not self.reply.done():
            self.reply.set_exception(ConnectionError("the upstream closed the connection"))

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_begin(self) -> None:
        self._body, self._type, self._session = b"", b"", b""

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        if name == b"content-type":
            self._type = value
        elif name == b"mcp-session-id":
            self._session = value

    def on_body(self, body: bytes) -> None:
        self._body = self._body + body if self._body else body

    def on_message_complete(self) -> None:
        reply, self.reply = self.reply, None
        if reply and not reply.done():
            reply.set_result((self._parser.get_status_code(), self._type, self._body, self._session))


class RawClient:
    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._address = parts.hostname or "", parts.port or 80
        self._free: list[_Connection] = []
        self._head = (
            f"POST {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nAccept: application/json, text/event-stream\r\n"
            "Content-Type: application/json\r\n"
        ).encode()

    async def post(self, body: bytes, headers: bytes = b"") -> Reply:
        """
        Args:
            headers: further lines.
        """
        loop = asyncio.get_running_loop()
        connection = self._free.pop() if self._free else None
        if connection is None or connection.closed:
            _, connection = await loop.create_connection(_Connection, *self._address)
        reply = connection.reply = loop.create_future()
        connection.transport.write(b"%b%bContent-Length: %d\r\n\r\n%b" % (self._head, headers, len(body), body))
        answered = await reply
        self._free.append(connection)
        return answered
