"""Listens on this machine for a browser that comes back from a login, and shows it a page.

Source: RFC 8252, 7.3.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Final
from urllib.parse import parse_qsl, urlsplit

import anyio
from anyio.abc import SocketAttribute, SocketStream
from anyio.streams.buffered import BufferedByteReceiveStream

from gateway.logins.page import HEADERS, page

MAX_HEAD: Final = 64 * 1024
HEAD_SECONDS: Final = 30.0
PATH: Final = "/callback"

OnReturn = Callable[[Mapping[str, str]], Awaitable[tuple[bool, str, str] | None]]
"""`(query)` → whether it ended well, title and text of the page; None if it was not meant for us."""


@asynccontextmanager
async def listening(on_return: OnReturn, port: int | None) -> AsyncGenerator[str]:
    """Listen until the block ends; yields the address that the browser is to come back to.

    Args:
        port: the one to listen on, where it was agreed upon; else a free one.

    Raises:
        OSError: it cannot be listened on.
    """
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=port or 0)
    actual = listener.extra(SocketAttribute.local_port)  # noqa: S610 - no Django here

    async def serve(stream: SocketStream) -> None:
        async with stream:
            with suppress(Exception), anyio.move_on_after(HEAD_SECONDS):
                await _serve(stream, on_return, actual)

    async with listener, anyio.create_task_group() as tg:
        tg.start_soon(listener.serve, serve)
        yield f"http://{'localhost' if port else '127.0.0.1'}:{actual}{PATH}"
        tg.cancel_scope.cancel()


async def _serve(stream: SocketStream, on_return: OnReturn, port: int) -> None:
    head = (await BufferedByteReceiveStream(stream).receive_until(b"\r\n\r\n", MAX_HEAD)).decode("latin-1")
    line, *fields = head.split("\r\n")
    method, target, _ = line.split(" ", 2)
    hosts = [value.strip() for name, _, value in (field.partition(":") for field in fields) if name.lower() == "host"]
    parts = urlsplit(target)
    if hosts not in ([f"127.0.0.1:{port}"], [f"localhost:{port}"]) or parts.path != PATH or method != "GET":
        await _answer(stream, "404 Not Found", page("Nothing here", "This address is for a login only.", good=False))
        return
    shown = await on_return(dict(parse_qsl(parts.query, keep_blank_values=True)))
    good, title, text = shown or (False, "Not this one", "What came back belongs to another login.")
    await _answer(stream, "200 OK" if good else "400 Bad Request", page(title, text, good=good))


async def _answer(stream: SocketStream, status: str, body: bytes) -> None:
    fields = {**HEADERS, "content-length": str(len(body)), "connection": "close"}
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    await stream.send(f"HTTP/1.1 {status}\r\n{lines}\r\n".encode() + body)
