"""`/metrics` at an address of its own (`gateway.metrics.host`), without all the rest. Needs no FastAPI."""

from collections.abc import Callable, Coroutine
from typing import Any, Final

from gateway.errors import MethodNotAllowed, NotFound
from gateway.frontend.guard import Guard
from gateway.frontend.http_request import HttpRequest
from gateway.telemetry.metrics import Metrics

READING: Final = ("GET", "HEAD")


def metrics_app(metrics: Metrics, guard: Guard) -> Callable[[HttpRequest], Coroutine[Any, Any, None]]:
    """What a listener serves to have `/metrics` and nothing else; its errors are answered by `reply_error`.

    Args:
        guard: which `Host` and `Origin` it answers to.
    """

    async def handle(request: HttpRequest) -> None:
        guard.check(request.headers.get("host"), request.headers.get("origin"))
        if request.path != "/metrics":
            raise NotFound("Nothing here but /metrics.")
        if request.method not in READING:
            raise MethodNotAllowed("/metrics can only be read.", READING)
        text, kind = await metrics.render(accept=request.headers.get("accept", ""))
        request.reply(200, text, [("cache-control", "no-store"), ("vary", "accept")], kind)

    return handle
