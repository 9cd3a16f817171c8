"""`/metrics` at an address of its own (`gateway.metrics.host`), without all the rest. Needs no FastAPI."""

from typing import Any, Final

from gateway.errors import GatewayError, MethodNotAllowed, NotFound
from gateway.frontend.exchange import Receive, Send, encode
from gateway.frontend.guard import Guard
from gateway.frontend.rest.failures import reply_error
from gateway.frontend.rest.shell import App
from gateway.telemetry.metrics import CONTENT_TYPE, Metrics

READING: Final = frozenset({"GET", "HEAD"})


def metrics_app(metrics: Metrics, guard: Guard) -> App:
    """An ASGI application that serves `/metrics` and nothing else.

    Args:
        guard: which `Host` and `Origin` it answers to.
    """

    async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        try:
            headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
            guard.check(headers.get(b"host"), headers.get(b"origin"))
            if scope["path"] != "/metrics":
                raise NotFound("Nothing here but /metrics.")
            if scope["method"] not in READING:
                raise _not_allowed()
        except GatewayError as error:
            await reply_error(send, error)
            return
        body = await metrics.render()
        fields = {"content-type": CONTENT_TYPE, "content-length": str(len(body)), "cache-control": "no-store"}
        await send({"type": "http.response.start", "status": 200, "headers": encode(fields)})
        await send({"type": "http.response.body", "body": body})

    return app


def _not_allowed() -> MethodNotAllowed:
    return MethodNotAllowed("/metrics can only be read.", ["GET", "HEAD"])
