"""JSON in and out, and the four shapes of a JSON-RPC message. Bytes and dicts only; no model, no I/O.

`orjson` is the fast path. It turns integers beyond 64 bits into floats and refuses to write them, so such documents
take the standard library's path: what passes through a gateway must come out as it went in.
"""

import json
import re
from typing import Any, Final, TypeGuard, cast

import orjson

Message = dict[str, Any]
"""One decoded JSON-RPC message."""

RequestId = str | int
"""As JSON-RPC allows it; the gateway never sends `null`."""

_LONG_INTEGER: Final = re.compile(rb"[0-9]{19}")
MAX_DIGITS: Final = 4300
"""Longest integer the standard library converts (CPython's own limit, CVE-2020-10735)."""


def loads(data: bytes) -> Any:
    """Decode one JSON document.

    Raises:
        ValueError: not JSON, nested more than about 1,000 deep, or not UTF-8.
    """
    if _LONG_INTEGER.search(data):
        return _loads_exactly(data)
    return orjson.loads(data)


def _loads_exactly(data: bytes) -> Any:
    orjson.loads(data)  # the same limits on depth, encoding and syntax as on the fast path
    return json.loads(data)


def dumps(value: Any, *, sort_keys: bool = False) -> bytes:
    """Encode as compact UTF-8 JSON. With `sort_keys`, values that differ in the order of keys only give equal bytes.

    Raises:
        ValueError: the value has no JSON form.
    """
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS if sort_keys else None)
    except TypeError:
        try:
            return json.dumps(
                value, separators=(",", ":"), ensure_ascii=False, allow_nan=False, sort_keys=sort_keys
            ).encode()
        except TypeError as error:
            raise ValueError(str(error)) from None


def request(id: RequestId, method: str, params: dict[str, Any] | None) -> Message:
    message: Message = {"jsonrpc": "2.0", "id": id, "method": method}
    if params is not None:
        message["params"] = params
    return message


def notification(method: str, params: dict[str, Any] | None) -> Message:
    message: Message = {"jsonrpc": "2.0", "method": method}
    if params is not None:
        message["params"] = params
    return message


def result(id: RequestId, value: dict[str, Any]) -> Message:
    return {"jsonrpc": "2.0", "id": id, "result": value}


def error(id: RequestId | None, code: int, message: str, data: Any = None) -> Message:
    """`id` is None when the request's own could not be read (JSON-RPC 2.0, section 5)."""
    body: dict[str, Any] = {"code": code, "message": message}
    if data is not None:
        body["data"] = data
    return {"jsonrpc": "2.0", "id": id, "error": body}


def as_object(value: object) -> dict[str, Any]:
    """`value` if it is a JSON object, else an empty one."""
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def is_id(value: object) -> TypeGuard[RequestId]:
    """Whether `value` can be a request id. Booleans are integers to Python, not to JSON."""
    return isinstance(value, str | int) and not isinstance(value, bool)
