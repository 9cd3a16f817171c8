"""The same proxy without ASGI: a bare `asyncio.Protocol`.

BENCH_UPSTREAM=URL python -m tests.bench.rivals.protocol_proxy PORT
"""

import asyncio
import os
import sys
from typing import Final, cast

import httptools
import uvloop

from tests.bench.rivals.raw_client import RawClient

TOKEN: Final = b"Bearer bench"


class Connection(asyncio.Protocol):
    def __init__(self, client: RawClient, group: asyncio.TaskGroup) -> None:
        self._client, self._group = client, group

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._parser = httptools.HttpRequestParser(self)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_begin(self) -> None:
        self._body, self._headers = b"", list[tuple[bytes, bytes]]()

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name.lower(), value))

    def on_body(self, body: bytes) -> None:
        self._body = self._body + body if self._body else body

    def on_message_complete(self) -> None:
        self._group.create_task(self._forward(self._headers, self._body))

    async def _forward(self, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        if dict(headers).get(b"authorization") != TOKEN:
            self._transport.write(b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n")
            return
        lines = b"".join(b"%b: %b\r\n" % each for each in headers if each[0].startswith(b"mcp-"))
        status, type, answer, _ = await self._client.post(body, lines)
        head = b"HTTP/1.1 %d X\r\ncontent-type: %b\r\ncontent-length: %d\r\n\r\n" % (status, type, len(answer))
        self._transport.write(head + answer)


async def main(port: int, upstream: str) -> None:
    client = RawClient(upstream)
    async with asyncio.TaskGroup() as group:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: Connection(client, group), "127.0.0.1", port, backlog=1024)
        await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), os.environ["BENCH_UPSTREAM"]))
