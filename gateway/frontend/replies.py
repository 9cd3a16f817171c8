"""Answers that are an error, or another document in one piece, and their HTTP status."""

from typing import Any, Final

from gateway import jsonrpc
from gateway.errors import GatewayError
from gateway.frontend.http_head import Fields
from gateway.frontend.http_request import HttpRequest
from gateway.jsonrpc import RequestId
from gateway.protocol import INVALID_PARAMS, INVALID_REQUEST, METHOD_NOT_FOUND, PARSE_ERROR, Era

MODERN_STATUSES: Final = {PARSE_ERROR: 400, INVALID_REQUEST: 400, INVALID_PARAMS: 400, METHOD_NOT_FOUND: 404}
"""HTTP status by error code, for answers of the modern era; all others are 200. Codes of the specification's own range
(−32020 …) are 400."""


def status_of(code: int, era: Era) -> int:
    """HTTP status of a JSON-RPC error that answers a request."""
    if era is Era.HANDSHAKE:
        return 200
    return MODERN_STATUSES.get(code, 400 if -32099 <= code <= -32020 else 200)


def reply_failure(request: HttpRequest, error: GatewayError, id: RequestId | None = None) -> None:
    """End the exchange with an error, its HTTP status and its headers."""
    reply_json(request, error.status, jsonrpc.error(id, error.code, error.message, error.data), error.headers.items())


def reply_json(request: HttpRequest, status: int, value: Any, headers: Fields = ()) -> None:
    request.reply(status, jsonrpc.dumps(value), headers)
