"""From an HTTP response to the result of a tool, or to the contents of a resource: what the API says, as it says it."""

import base64
import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final, cast

from gateway import jsonrpc
from gateway.openapi.bodies import is_json, plain_media
from gateway.openapi.model import Operation

MAX_ERROR: Final = 16 * 1024
"""Bytes of an API's words about an error that are passed on."""
_TEXTS: Final = re.compile(
    r"text/.*|.*\+xml|.*\+yaml|application/(?:xml|yaml|x-yaml|javascript|x-javascript|x-www-form-urlencoded|graphql"
    r"|x-ndjson|jsonl|x-jsonlines|sql|toml|rtf)"
)
_CHARSET: Final = re.compile(r"charset=[\"']?([A-Za-z0-9._-]{1,40})", re.IGNORECASE)
_TOLD: Final = (("link", "Link"), ("location", "Location"), ("retry-after", "Retry-After"))
"""Headers that say how to go on: the next page, what was made, when to come back."""

Content = dict[str, Any]


def result_of(
    operation: Operation, status: int, headers: Mapping[bytes, bytes], body: bytes, uri: str
) -> dict[str, Any]:
    """The result of a call.

    Args:
        headers: lower-case names.
        uri: what was asked for, without anything secret.
    """
    told = [f"{shown}: {value}" for name, shown in _TOLD if (value := _header(headers, name))]
    if status >= 400 or 300 <= status < 400:
        lines = [_phrase(status), *told]
        words = _text(headers, body[:MAX_ERROR]).strip()
        return {"content": [_as_text("\n".join([*lines, *([words] if words else [])]))], "isError": True}
    content, structured = _success(operation, status, headers, body, uri)
    if told:
        content.append(_as_text("\n".join(told)))
    result: dict[str, Any] = {"content": content, "isError": False}
    if structured is not None:
        result["structuredContent"] = structured
    return result


def contents_of(headers: Mapping[bytes, bytes], body: bytes, uri: str) -> dict[str, Any]:
    """The contents of a resource."""
    media = plain_media(_header(headers, "content-type"))
    entry: Content = {"uri": uri, **({"mimeType": media} if media else {})}
    if is_json(media) or _TEXTS.fullmatch(media) or (not media and _is_text(body)):
        return {"contents": [{**entry, "text": _text(headers, body)}]}
    return {"contents": [{**entry, "blob": base64.b64encode(body).decode()}]}


def words_of(status: int, headers: Mapping[bytes, bytes], body: bytes) -> str:
    """What an API says of an error, on one line or more."""
    words = _text(headers, body[:MAX_ERROR]).strip()
    return f"{_phrase(status)}: {words}" if words else _phrase(status)


def _success(
    operation: Operation, status: int, headers: Mapping[bytes, bytes], body: bytes, uri: str
) -> tuple[list[Content], Any]:
    """Content, and structured content if there is any, or has to be."""
    media = plain_media(_header(headers, "content-type"))
    owed: Any = {} if "outputSchema" in operation.tool else None
    if not body:
        return [_as_text(_phrase(status))], owed
    if is_json(media) or (media in ("", "text/plain") and body.lstrip()[:1] in (b"{", b"[")):
        try:
            value = jsonrpc.loads(body)
        except ValueError:
            value = None  # too large to be looked into, or no JSON in spite of what it says
        else:
            return [_as_text(_text(headers, body))], _structured(operation, value)
    if media.startswith(("image/", "audio/")):
        kind = media.partition("/")[0]
        return [{"type": kind, "data": base64.b64encode(body).decode(), "mimeType": media}], owed
    if is_json(media) or _TEXTS.fullmatch(media) or (not media and _is_text(body)):
        return [_as_text(_text(headers, body))], owed
    blob = {"uri": uri, "mimeType": media or "application/octet-stream", "blob": base64.b64encode(body).decode()}
    return [{"type": "resource", "resource": blob}], owed


def _structured(operation: Operation, value: Any) -> dict[str, Any]:
    if isinstance(value, dict) and not operation.wraps:
        return cast("dict[str, Any]", value)
    return {"result": value}


def _phrase(status: int) -> str:
    try:
        return f"HTTP {status} {HTTPStatus(status).phrase}"
    except ValueError:
        return f"HTTP {status}"


def _as_text(text: str) -> Content:
    return {"type": "text", "text": text}


def _header(headers: Mapping[bytes, bytes], name: str) -> str:
    return headers.get(name.encode(), b"")[:4096].decode("latin-1").strip()


def _text(headers: Mapping[bytes, bytes], body: bytes) -> str:
    match = _CHARSET.search(_header(headers, "content-type"))
    try:
        return body.decode(match[1] if match else "utf-8", "replace")
    except LookupError:
        return body.decode("utf-8", "replace")


def _is_text(body: bytes) -> bool:
    try:
        return "\0" not in body.decode()
    except UnicodeDecodeError:
        return False
