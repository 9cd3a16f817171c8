"""Reading a request body: capped, plain, and one JSON-RPC message or a batch of them. How long it may take is the
connection's business."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

from gateway import jsonrpc
from gateway.errors import InvalidRequest, ParseError, PayloadTooLarge, UnsupportedMediaType
from gateway.frontend.http_head import JSON
from gateway.frontend.http_request import HttpRequest
from gateway.jsonrpc import LONGEST_ID, Message, as_object
from gateway.protocol import META_CLIENT_CAPABILITIES

BATCH_VERSION: Final = "2025-03-26"
"""The only revision with batches (basic, "Batching")."""
ARRAY: Final = b"["
MAX_BATCH: Final = 100
NO_BATCHES: Final = f"There must be one JSON-RPC message; batches are part of MCP {BATCH_VERSION} only."


async def read_message(request: HttpRequest, cap: int) -> Message:
    """The one JSON-RPC message a POST carries.

    Raises:
        UnsupportedMediaType, PayloadTooLarge, ParseError, InvalidRequest: what it says.
    """
    check_form(request.headers)
    messages = messages_of(await read_body(request, cap))
    if isinstance(messages, list):
        raise InvalidRequest(NO_BATCHES)
    return messages


def check_form(headers: Mapping[str, str]) -> None:
    """
    Raises:
        UnsupportedMediaType: it is not JSON that a request carries.
    """
    if headers.get("content-type", "").partition(";")[0].strip().lower() != JSON:
        raise UnsupportedMediaType(f"Content-Type must be {JSON}.")


def messages_of(body: bytes) -> Message | list[object]:
    """What a POST carries: one message, or a batch that `check_batch` has yet to look at.

    Raises:
        ParseError, InvalidRequest: what it says.
    """
    return jsonrpc.usual_request(body) or unusual_messages_of(body)


def unusual_messages_of(body: bytes) -> Message | list[object]:
    """The same, for what is no `jsonrpc.usual_request`."""
    message = decode(body)
    if isinstance(message, list):
        return cast("list[object]", message)
    return check_shape(_unwrap(as_object(message)), may_need_mending=ARRAY in body)


def check_batch(batch: Sequence[object], version: str) -> list[Message]:
    """
    Raises:
        InvalidRequest: there are no batches in that revision, or it is not one of its messages.
    """
    if version != BATCH_VERSION:
        raise InvalidRequest(NO_BATCHES)
    if not 0 < len(batch) <= MAX_BATCH:
        raise InvalidRequest(f"A batch has 1 to {MAX_BATCH} messages.")
    messages = [check_shape(as_object(one)) for one in batch]
    if any(message.get("method") == "initialize" for message in messages):
        raise InvalidRequest("initialize must not be part of a batch.")
    return messages


def decode(data: bytes) -> object:
    """
    Raises:
        ParseError: it is not JSON.
        InvalidRequest: it has too many values.
    """
    try:
        return jsonrpc.loads_request(data)
    except jsonrpc.TooManyValues as error:
        raise InvalidRequest(str(error)) from None
    except (ValueError, RecursionError):
        raise ParseError("Not JSON.") from None


def _unwrap(message: Message) -> Message:
    """The request inside `{"version": …, "request": {…}}`, the envelope that clients of an older gateway send."""
    return message if "jsonrpc" in message else as_object(message.get("request"))


def check_shape(message: Message, *, may_need_mending: bool = True) -> Message:
    """
    Args:
        may_need_mending: whether there is an array in it: an empty one may be meant for an object.

    Raises:
        InvalidRequest: not a JSON-RPC 2.0 request, notification or response.
    """
    method, params = message.get("method"), message.get("params")
    if may_need_mending:
        params = jsonrpc.mended(params)
    id = message.get("id")
    is_request = isinstance(method, str) and (type(id) is int or "id" not in message or jsonrpc.is_id(id))
    is_response = method is None and "id" in message and ("result" in message or "error" in message)
    if message.get("jsonrpc") != "2.0" or not (is_request or is_response):
        raise InvalidRequest("Not a JSON-RPC 2.0 request, notification or response.")
    if isinstance(id, str) and len(id) > LONGEST_ID:
        raise InvalidRequest(f"The id is longer than {LONGEST_ID} characters.")
    if params is not None:
        if not isinstance(params, dict):
            raise InvalidRequest("params must be an object.")
        members = message["params"] = cast("dict[str, Any]", params)
        if may_need_mending:
            _mend(members)
        if "_meta" in members and _is_long(as_object(members["_meta"]).get("progressToken")):
            raise InvalidRequest(f"The progressToken is longer than {LONGEST_ID} characters.")
    return message


def _is_long(id: object) -> bool:
    return isinstance(id, str) and len(id) > LONGEST_ID


def _mend(params: dict[str, Any]) -> None:
    """Make what can only be an object one, where it is an empty array: see `jsonrpc.mended`."""
    for name in ("arguments", "capabilities", "_meta"):
        if params.get(name) == []:
            params[name] = {}
    meta = as_object(params.get("_meta"))
    if META_CLIENT_CAPABILITIES in meta and not isinstance(meta, jsonrpc.Meta):  # one that is shared has no arrays
        meta[META_CLIENT_CAPABILITIES] = _mended_capabilities(meta[META_CLIENT_CAPABILITIES])
    if "capabilities" in params:
        params["capabilities"] = _mended_capabilities(params["capabilities"])


def _mended_capabilities(value: object, levels: int = 3) -> object:
    """What a client can do holds objects in objects, and no arrays."""
    if levels and isinstance(value, dict):
        return {name: _mended_capabilities(one, levels - 1) for name, one in as_object(cast("object", value)).items()}
    return jsonrpc.mended(value)


async def read_body(request: HttpRequest, cap: int) -> bytes:
    """
    Raises:
        UnsupportedMediaType, PayloadTooLarge, InvalidRequest: what it says.
    """
    check_size(request.headers, cap)
    return await request.read(cap)


def check_size(headers: Mapping[str, str], cap: int) -> None:
    """
    Raises:
        UnsupportedMediaType: the body is encoded; nothing is decompressed here, so that no bomb goes off.
        PayloadTooLarge: it is larger than that, by what its headers say.
    """
    check_encoding(headers)
    length = headers.get("content-length", "")
    if length.isdecimal() and int(length) > cap:
        raise PayloadTooLarge(cap)


def check_encoding(headers: Mapping[str, str]) -> None:
    """
    Raises:
        UnsupportedMediaType: the body is encoded; nothing is decompressed here, so that no bomb goes off.
    """
    if headers.get("content-encoding", "identity").lower() != "identity":
        raise UnsupportedMediaType("Content-Encoding is not supported; send the body as it is.")
