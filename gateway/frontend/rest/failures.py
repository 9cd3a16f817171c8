"""How errors look on the REST side: `{"error": {"code", "message"}}`, whoever raised them. Needs no FastAPI."""

import re
from typing import Any, Final

from gateway import jsonrpc
from gateway.errors import GatewayError
from gateway.frontend.exchange import Send, encode

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


async def reply_error(send: Send, error: GatewayError) -> None:
    """End an HTTP exchange with an error, its status and its headers."""
    body = jsonrpc.dumps(body_of(code_of(error), error.message))
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body)), *encode(error.headers)]
    await send({"type": "http.response.start", "status": status_of(error), "headers": headers})
    await send({"type": "http.response.body", "body": body})
