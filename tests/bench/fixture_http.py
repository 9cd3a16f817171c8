"""The cheapest Streamable HTTP server there is in Python, so that what is measured is the client.

python -m tests.bench.fixture_http PORT [SECONDS that a tool takes, unless its argument `slow` is false]
"""

import asyncio
import sys
from collections.abc import Callable
from typing import cast

import httptools
import orjson
import uvloop

from tests.bench.answers import answer
from tests.servers.wire import Message


class Connection(asyncio.Protocol):
    """
    Args:
        answer: what is answered to a message; None when nothing is owed.
        delay: seconds that a tool takes.
    """

    def __init__(self, answer: Callable[[Message], Message | None], delay: float = 0.0) -> None:
        self._answer = answer
        self._delay = delay

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._parser = httptools.HttpRequestParser(self)
        self._body = b""

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_begin(self) -> None:
        self._body = b""

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        if self._parser.get_method() != b"POST":
            self._transport.write(b"HTTP/1.1 405 Method Not Allowed\r\ncontent-length: 0\r\n\r\n")
            return
        message = orjson.loads(self._body)
        reply = self._answer(message)
        if reply is None:
            self._transport.write(b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n")
            return
        body = orjson.dumps(reply)
        head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body)
        if self._delay and message["method"] == "tools/call" and message["params"]["arguments"].get("slow", True):
            asyncio.get_running_loop().call_later(self._delay, self._transport.write, head + body)
        else:
            self._transport.write(head + body)


async def main(port: int, delay: float) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(answer, delay), "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), float(sys.argv[2]) if len(sys.argv) > 2 else 0.0))
