"""How errors look on the REST side: `{"error": {"code", "message"}}`, whoever raised them. Needs no FastAPI."""

import re
from typing import Any, Final

import structlog

from gateway import jsonrpc
from gateway.errors import GatewayError, InternalError
from gateway.frontend.http_request import HttpRequest

log = structlog.stdlib.get_logger("gateway.rest")

_WORD_START: Final = re.compile(r"(?<!^)(?=[A-Z])")


def code_of(error: GatewayError) -> str:
    """`NotFound` → `not_found`: each leaf of `GatewayError` is one outcome a client can see."""
    return _WORD_START.sub("_", type(error).__name__).lower()


def status_of(error: GatewayError) -> int:
    """Its HTTP status; errors that only a JSON-RPC answer carries have none of their own."""
    return error.status if error.status >= 400 else 500


def body_of(code: str, message: str, fields: list[dict[str, str]] | None = None) -> dict[str, Any]:
    """
    Args:
        fields: `{"field", "message"}` for each part of the request that is not as it must be.
    """
    error: dict[str, Any] = {"code": code, "message": message}
    return {"error": error | {"fields": fields} if fields else error}


def reply_error(request: HttpRequest, error: GatewayError) -> None:
    """End an HTTP exchange with an error, its status and its headers."""
    body = jsonrpc.dumps(body_of(code_of(error), error.message))
    request.reply(status_of(error), body, error.headers.items())


def fail(request: HttpRequest, error: BaseException) -> None:
    """Answer a request that raised an error."""
    if not isinstance(error, GatewayError):
        log.error("request failed", path=request.path, exc_info=error)
        error = InternalError()
    if request.started:
        request.abort()
    else:
        reply_error(request, error)
