"""The cheapest of agents: one HTTP connection, kept alive, one request at a time."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

HEAD: Final = b"POST /mcp HTTP/1.1\r\nHost: localhost\r\nAccept: application/json\r\nContent-Type: application/json\r\n"


@dataclass(frozen=True, slots=True)
class Response:
    status: int
    head: bytes
    body: bytes

    def header(self, name: bytes) -> bytes:
        """Its value; empty if there is none. `name` is in lower case."""
        at = self.head.lower().find(b"\r\n" + name + b": ")
        return self.head[at + len(name) + 4 :].partition(b"\r\n")[0] if at >= 0 else b""


class Connection:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def post(self, body: bytes, headers: bytes = b"") -> Response:
        """
        Args:
            headers: further lines.

        Raises:
            OSError, EOFError: the connection broke.
        """
        return await self.exchange(HEAD + headers + b"Content-Length: %d\r\n\r\n" % len(body) + body)

    async def exchange(self, request: bytes) -> Response:
        self.writer.write(request)
        head = await self.reader.readuntil(b"\r\n\r\n")
        response = Response(int(head[9:12]), head, b"")
        body = await self.reader.readexactly(int(response.header(b"content-length") or 0))
        return Response(response.status, head, body)


@asynccontextmanager
async def connected(port: int) -> AsyncGenerator[Connection]:
    connection = Connection(*await asyncio.open_connection("127.0.0.1", port))
    try:
        yield connection
    finally:
        connection.writer.close()
