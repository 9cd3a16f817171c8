"""A bare ASGI proxy that asks for a bearer token and forwards bytes: what uvicorn's front costs, and no more.

BENCH_UPSTREAM=URL python -m uvicorn tests.bench.rivals.asgi_proxy:app
"""

import os
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

from tests.bench.rivals.raw_client import RawClient

TOKEN: Final = b"Bearer bench"
KEPT: Final = {b"mcp-session-id", b"mcp-protocol-version", b"mcp-method", b"mcp-name"}
Event = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Event]]
Send = Callable[[Event], Awaitable[None]]

client: Final = RawClient(os.environ.get("BENCH_UPSTREAM", "http://127.0.0.1/"))


async def app(scope: Event, receive: Receive, send: Send) -> None:
    if scope["type"] != "http":
        return
    headers = scope["headers"]
    if next((value for name, value in headers if name == b"authorization"), None) != TOKEN:
        await respond(send, 401, [], b"")
        return
    body = await read_body(receive)
    lines = b"".join(b"%b: %b\r\n" % each for each in headers if each[0] in KEPT)
    status, type, answer, session = await client.post(body, lines)
    answering = [(b"content-type", type)]
    if session:
        answering.append((b"mcp-session-id", session))
    await respond(send, status, answering, answer)


async def read_body(receive: Receive) -> bytes:
    event = await receive()
    body: bytes = event["body"]
    while event.get("more_body"):
        event = await receive()
        body += event["body"]
    return body


async def respond(send: Send, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
    headers.append((b"content-length", b"%d" % len(body)))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
