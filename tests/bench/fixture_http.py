"""The cheapest Streamable HTTP server there is in Python, so that what is measured is the client.

    python -m tests.bench.fixture_http PORT [--delay SECONDS] [--tools N]

It is the same server at every path, but for how tools' results come: below `/events` on an event stream, written at
once, and below `/pieces` on one of which head, event and end come apart, as from the Python SDK. `--delay`: what a tool
takes, unless its argument `slow` is false.
"""

import argparse
import asyncio
import time
from typing import Any, cast

import httptools
import orjson
import uvloop

from tests.bench.answers import Answer, Message, answering, tools

EVENTS = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
LAST = b"0\r\n\r\n"
APART_SECONDS = 0.02
"""Between two pieces: so long that whoever runs fifty times slower still reads them one by one."""


class Connection(asyncio.Protocol):
    """
    Args:
        answer: what is answered to a message.
        delay: seconds that a tool takes.
    """

    def __init__(self, answer: Answer, delay: float = 0.0) -> None:
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

    def on_url(self, url: bytes) -> None:
        self._url = url

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
        delay = self._delay_of(message)
        if message["method"] == "tools/call" and message["params"]["name"] == "step":
            self._step(message["params"], body, delay)
            return
        pieces = self._pieces(message["method"], body)
        loop = asyncio.get_running_loop()
        for number, piece in enumerate(pieces):
            if delay or number:
                loop.call_later(delay + number * APART_SECONDS, self._transport.write, piece)
            else:
                self._transport.write(piece)

    def _pieces(self, method: str, body: bytes) -> list[bytes]:
        """A response, in pieces that are sent one after the other."""
        if method == "tools/call" and self._url.startswith(b"/events"):
            return [EVENTS + chunk(body) + LAST]
        if method == "tools/call" and self._url.startswith(b"/pieces"):
            return [EVENTS, chunk(body), LAST]
        return [
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)
        ]

    def _delay_of(self, message: Message) -> float:
        if message["method"] != "tools/call":
            return 0.0
        arguments: dict[str, Any] = message["params"]["arguments"]
        if message["params"]["name"] in ("slow", "step"):
            return arguments["ms"] / 1000
        return self._delay if arguments.get("slow", True) else 0.0

    def _step(self, params: Message, body: bytes, delay: float) -> None:
        """Progress that says when it was sent, and the answer later."""
        token = params["_meta"]["progressToken"]
        said = {"progressToken": token, "progress": 1, "message": repr(time.perf_counter())}
        note = orjson.dumps({"jsonrpc": "2.0", "method": "notifications/progress", "params": said})
        self._transport.write(EVENTS + chunk(note))
        asyncio.get_running_loop().call_later(delay, self._transport.write, chunk(body) + LAST)


def chunk(data: bytes) -> bytes:
    """One event."""
    event = b"event: message\r\ndata: " + data + b"\r\n\r\n"
    return b"%x\r\n%b\r\n" % (len(event), event)


async def main(options: argparse.Namespace) -> None:
    listed = tools(options.tools)
    answer = answering(lambda: listed)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: Connection(answer, options.delay), "127.0.0.1", options.port, backlog=1024
    )
    await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("--delay", type=float, default=0.0)
    parser.add_argument("--tools", type=int, default=0)
    uvloop.run(main(parser.parse_args()))
