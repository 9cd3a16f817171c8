"""The access log: one line per request, whatever became of it."""

import time
from collections.abc import Awaitable, Callable
from typing import Any

import structlog

from gateway.errors import GatewayError
from gateway.harmless import Clipped
from gateway.request import Request

Handler = Callable[[Request], Awaitable[dict[str, Any]]]

log = structlog.stdlib.get_logger("gateway.access")


def audit(following: Handler) -> Handler:
    """Log each request once it is over: who asked for what, where it went, what came of it, and how long it took.

    Arguments and results are nobody's business here and are not logged.
    """

    async def handle(request: Request) -> dict[str, Any]:
        started = time.perf_counter()
        outcome = "cancelled"
        code: int | None = None
        try:
            result = await following(request)
            outcome = "tool_error" if result.get("isError") is True else "ok"
            return result
        except GatewayError as error:
            outcome, code = error.outcome, error.code
            raise
        except Exception:
            outcome = "error"
            raise
        finally:
            agent = request.agent
            log.info(
                "request",
                method=Clipped(request.method, 100),
                target=_target(request),
                upstream=request.upstream,
                outcome=outcome,
                code=code,
                ms=round((time.perf_counter() - started) * 1000, 2),
                principal=request.principal.id,
                era=agent.era.value,
                view=agent.view,
                client=_name(agent.info),
            )

    return handle


def _target(request: Request) -> str | None:
    """The tool, prompt or resource named; clipped, for it is the client's text."""
    target = request.params.get("name") or request.params.get("uri")
    return Clipped(target, 200) if isinstance(target, str) else None


def _name(info: Any) -> str | None:
    name = info.get("name")
    return Clipped(name, 100) if isinstance(name, str) else None
