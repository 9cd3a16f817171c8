"""The bad server's misbehaviours that only HTTP can have: bodies, lengths, encodings, redirects, sessions, streams."""

import asyncio
import gzip
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from tests.servers.bad_replies import MISREPLIES, padded
from tests.servers.wire import Message, encode
from tests.servers.wire_http import Exchange, HttpServer, event

Misdeed = Callable[[Exchange, Message, dict[str, Any]], Awaitable[None]]
"""`(exchange, good reply, tool arguments)`: answers the exchange in its own way."""


async def misbehave(kind: str, exchange: Exchange, reply: Message, arguments: dict[str, Any]) -> None:
    """Answer in the way named, whether it is one of HTTP's own or one of those stdio knows too."""
    if kind in MISDEEDS:
        await MISDEEDS[kind](exchange, reply, arguments)
        return
    match MISREPLIES[kind](reply, arguments):
        case []:
            await asyncio.Event().wait()
        case [body]:
            await exchange.send(200, body)
        case several:
            await exchange.send_stream(_each(b"data: %b\n\n" % one for one in several))


async def _each(items: Iterable[bytes]) -> AsyncIterator[bytes]:
    for item in items:
        yield item


def _event(reply: Message, end: bytes = b"\n") -> bytes:
    return end.join([b": a comment", b"event: message", b"data: " + encode(reply), b"", b""])


# --- Bodies --------------------------------------------------------------------------------------------------------


async def cut_body(exchange: Exchange, reply: Message, arguments: dict[str, Any]) -> None:
    """Breaks the connection in the middle of the body."""
    body = encode(reply)
    await exchange.head(200, {"Content-Type": "application/json", "Content-Length": str(len(body))})
    await exchange.write(body[: len(body) // 2])
    exchange.writer.transport.abort()


async def cut_stream(exchange: Exchange, reply: Message, arguments: dict[str, Any]) -> None:
    """Breaks the connection in the middle of an event."""
    body = _event(reply)[:-10]
    await exchange.head(200, {"Content-Type": "text/event-stream", "Transfer-Encoding": "chunked"})
    await exchange.write(b"%x\r\n%b\r\n" % (len(body), body))
    exchange.writer.transport.abort()


async def length_too_long(exchange: Exchange, reply: Message, arguments: dict[str, Any]) -> None:
    body = encode(reply)
    await exchange.send(200, body, {"Content-Length": str(len(body) + 10)})
    exchange.writer.close()


async def length_too_short(exchange: Exchange, reply: Message, arguments: dict[str, Any]) -> None:
    body = encode(reply)
    await exchange.send(200, body, {"Content-Length": str(len(body) - 10)})


async def gzipped(exchange: Exchange, reply: Message, arguments: dict[str, Any]) -> None:
    """Asked for or not; with `megabytes` (0) of padding, which compress to nearly nothing."""
    body = gzip.compress(encode(padded(reply, arguments.get("megabytes", 0))), 1)
    await exchange.send(200, body, {"Content-Encoding": "gzip"})


async def html(exchange: Exchange, reply: Message, arguments: dict[str, Any]) -> None:
    await exchange.send(200, b"<!doctype html><title>Please log in</title>", type="text/html")


async def status(exchange: Exchange, reply: Message, arguments: dict[str, Any]) -> None:
    """The HTTP `status` named, with a body that is not JSON."""
    await exchange.send(arguments["status"], b"Not today.", type="text/plain")


async def drip(exchange: Exchange, reply: Message, arguments: dict[str, Any]) -> None:
    """A blank every 20 ms, and never the end of the body."""
    await exchange.head(200, {"Content-Type": "application/json", "Content-Length": str(1 << 30)})
    while True:
        await exchange.write(b" ")
        await asyncio.sleep(0.02)


# --- Where it is ---------------------------------------------------------------------------------------------------


async def redirect(exchange: Exchange, reply: Message, arguments: dict[str, Any]) -> None:
    """To the URL `to`: of this origin or another."""
    await exchange.send(307, headers={"Location": arguments["to"]})


async def lose_session(exchange: Exchange, reply: Message, arguments: dict[str, Any]) -> None:
    """Forgets every session, this one first."""
    exchange.server.sessions.clear()
    await exchange.send(404)


# --- Streams -------------------------------------------------------------------------------------------------------


async def split(exchange: Exchange, reply: Message, arguments: dict[str, Any]) -> None:
    """An HTTP chunk for each byte."""
    body = _event(reply)
    await exchange.send_stream(_each(body[at : at + 1] for at in range(len(body))))


async def crlf(exchange: Exchange, reply: Message, arguments: dict[str, Any]) -> None:
    await exchange.send_stream(_each([_event(reply, b"\r\n")]))


async def cr(exchange: Exchange, reply: Message, arguments: dict[str, Any]) -> None:
    await exchange.send_stream(_each([_event(reply, b"\r")]))


async def bom(exchange: Exchange, reply: Message, arguments: dict[str, Any]) -> None:
    await exchange.send_stream(_each([b"\xef\xbb\xbf", _event(reply)]))


async def two_data_lines(exchange: Exchange, reply: Message, arguments: dict[str, Any]) -> None:
    """The reply over two `data` lines of one event, which a reader joins with a line feed."""
    head, _, tail = encode(reply).partition(b",")
    await exchange.send_stream(_each([b"data: %b,\ndata:%b\n\n" % (head, tail)]))


async def huge_event(exchange: Exchange, reply: Message, arguments: dict[str, Any]) -> None:
    """Of `megabytes` (2)."""
    await exchange.send_stream(event(padded(reply, arguments.get("megabytes", 2))))


async def no_reply(exchange: Exchange, reply: Message, arguments: dict[str, Any]) -> None:
    """A stream that ends, in good order, before the reply."""
    note = {"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": "bye"}}
    await exchange.send_stream(event(note))


async def drip_stream(exchange: Exchange, reply: Message, arguments: dict[str, Any]) -> None:
    """A comment every 20 ms, and never an event."""

    async def comments() -> AsyncIterator[bytes]:
        while True:
            yield b": still here\n\n"
            await asyncio.sleep(0.02)

    await exchange.send_stream(comments())


MISDEEDS: Final[dict[str, Misdeed]] = {
    "cut_body": cut_body,
    "cut_stream": cut_stream,
    "length_too_long": length_too_long,
    "length_too_short": length_too_short,
    "gzip": gzipped,
    "html": html,
    "status": status,
    "drip": drip,
    "redirect": redirect,
    "lose_session": lose_session,
    "split": split,
    "crlf": crlf,
    "cr": cr,
    "bom": bom,
    "two_data_lines": two_data_lines,
    "huge_event": huge_event,
    "no_reply": no_reply,
    "drip_stream": drip_stream,
}


@dataclass
class SseOnlyServer(HttpServer):
    """Knows the legacy SSE transport alone: GET opens the stream, messages go to the endpoint it names."""

    post_status: int = 405
    """What a POST to the stream's own URL gets."""
    _streams: dict[str, asyncio.Queue[bytes]] = field(default_factory=dict[str, asyncio.Queue[bytes]])

    async def _exchange(self, exchange: Exchange) -> None:
        session = exchange.target.partition("?session=")[2]
        if exchange.method == "GET":
            await exchange.send_stream(self._stream())
        elif session not in self._streams:
            await exchange.send(self.post_status)
        else:
            reply = self.service.answer(exchange.json())
            if reply is not None:
                self._streams[session].put_nowait(_event(reply))
            await exchange.send(202)

    async def _stream(self) -> AsyncIterator[bytes]:
        session = uuid.uuid4().hex
        queue = self._streams[session] = asyncio.Queue()
        yield b"event: endpoint\ndata: /messages?session=%b\n\n" % session.encode()
        while True:
            yield await queue.get()
