"""ASGI applications behind our own server: what FastAPI needs of ASGI, and no more."""

from collections.abc import Awaitable, Callable
from typing import Any

from gateway.frontend.http_request import HttpRequest

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


async def run(app: App, request: HttpRequest, body: bytes, **more: Any) -> None:
    """Have an application answer one request.

    Args:
        body: the request's.
        more: for its scope.

    Raises:
        RuntimeError: it did not.
    """
    headers = request.headers
    if "content-length" in headers:
        headers = {**headers, "content-length": str(len(body))}  # the head may be that of an earlier request
    scope: Scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": request.version,
        "scheme": request.scheme,
        "method": request.method,
        "path": request.path,
        "raw_path": request.raw_path,
        "query_string": request.query,
        "root_path": "",
        "headers": [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()],
        "client": (request.address, 0) if request.address else None,
        "server": None,
        **more,
    }
    exchange = _Exchange(request, body)
    await app(scope, exchange.receive, exchange.send)
    if not (request.answered or request.gone):
        raise RuntimeError("The application has not answered.")


class _Exchange:
    """`receive` and `send` for one request."""

    def __init__(self, request: HttpRequest, body: bytes) -> None:
        self._request = request
        self._body: bytes | None = body

    async def receive(self) -> dict[str, Any]:
        if self._body is not None:
            body, self._body = self._body, None
            return {"type": "http.request", "body": body, "more_body": False}
        await self._request.until_over()
        return {"type": "http.disconnect"}

    async def send(self, event: dict[str, Any]) -> None:
        request = self._request
        await request.drain()
        if event["type"] == "http.response.start":
            headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in event["headers"]]
            request.start(event["status"], headers)
        else:
            request.write(event.get("body", b""))
            if not event.get("more_body", False):
                request.end()
