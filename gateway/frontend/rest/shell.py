"""What stands around the FastAPI application: bounded bodies, HEAD, headers for browsers, and a lid on defects.

FastAPI itself reads bodies of any size, for as long as their sender likes, and answers HEAD with 405.
"""

from collections.abc import Awaitable, Callable
from typing import Any, Final

import structlog

from gateway.errors import GatewayError, InternalError, PayloadTooLarge, UnsupportedMediaType
from gateway.frontend.body import read_body
from gateway.frontend.exchange import Receive, Send
from gateway.frontend.rest.failures import reply_error

log = structlog.stdlib.get_logger("gateway.rest")

Scope = dict[str, Any]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

MAX_BODY: Final = 64 * 1024
"""Bytes. What is sent here is small."""

SECURITY_HEADERS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
)
NOT_STORED: Final = (b"cache-control", b"no-store")
"""Unless an answer says otherwise: it may hold a token, and is not for whoever uses the browser next."""


class Shell:
    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        response = _Response(send)
        if scope["method"] == "HEAD":
            scope = {**scope, "method": "GET"}  # the server knows, and leaves the body out
        try:
            body = await _read(scope, receive)
            await self._app(scope, _replay(body, receive), response.send)
        except Exception as error:
            if not isinstance(error, GatewayError):
                log.exception("request failed", path=scope["path"])
            if not response.started:
                await reply_error(response.send, error if isinstance(error, GatewayError) else InternalError())


class _Response:
    """`send`, with the headers every answer has."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.started = False

    async def send(self, event: dict[str, Any]) -> None:
        if event["type"] == "http.response.start":
            self.started = True
            headers = [*event["headers"], *SECURITY_HEADERS]
            if not any(name == NOT_STORED[0] for name, _ in headers):
                headers.append(NOT_STORED)
            event = {**event, "headers": headers}
        await self._send(event)


async def _read(scope: Scope, receive: Receive) -> bytes:
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
    try:
        body = await read_body(headers, receive, MAX_BODY)
    except PayloadTooLarge as error:
        error.message = f"The body is larger than {MAX_BODY} bytes."  # not the cap that the error speaks of
        raise
    if body and headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise UnsupportedMediaType("Content-Type must be application/json.")
    return body


def _replay(body: bytes, receive: Receive) -> Receive:
    """`receive`, with the body read already."""
    pending = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> dict[str, Any]:
        return pending.pop() if pending else await receive()

    return replay
