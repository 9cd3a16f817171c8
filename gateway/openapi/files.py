"""Files among arguments: in base64, as a tool's schema asks for them or as MCP's own content has them, or as links."""

import base64
import binascii
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, cast
from urllib.parse import unquote_to_bytes

from gateway.openapi.faults import ArgumentFault
from gateway.openapi.model import Operation
from gateway.openapi.values import as_dict, as_list

_MEDIA: Final = re.compile(r"[A-Za-z0-9!#$&^_.+-]+/[A-Za-z0-9!#$&^_.+-]+(?:; ?charset=[A-Za-z0-9._-]+)?")


@dataclass(frozen=True, slots=True)
class FileContent:
    """A file."""

    data: bytes
    name: str = ""
    media: str = ""


def links(operation: Operation, arguments: Mapping[str, Any]) -> Iterator[str]:
    """The URIs of what arguments link to instead of holding it."""
    body = operation.body
    given = arguments.get(body.argument) if body is not None else None
    if body is None or given is None:
        return
    if body.kind == "file":
        yield from _links_in(given)
    elif body.kind == "multipart":
        for name, value in (as_dict(given) or {}).items():
            field = body.fields.get(name)
            if field is not None and field.is_file:
                for each in as_list(value) or [value]:
                    yield from _links_in(each)


def _links_in(value: Any) -> Iterator[str]:
    node = _described(value)
    uri = node.get("uri")
    if not _has_content(node) and isinstance(uri, str) and not uri.startswith("data:"):
        yield uri


def file_of(argument: str, value: Any, linked: Mapping[str, FileContent]) -> FileContent:
    """The file that a value is.

    Args:
        linked: what the URIs of `links` lead to.

    Raises:
        ArgumentFault: it is none.
    """
    if isinstance(value, str):
        return _of_uri(argument, value) if value.startswith("data:") else FileContent(_decoded(argument, value))
    node = _described(value)
    name, media = node.get("name") or node.get("filename"), node.get("mimeType")
    name = name if isinstance(name, str) else ""
    media = media if isinstance(media, str) and _MEDIA.fullmatch(media) else ""
    for key in ("data", "blob"):
        if isinstance(data := node.get(key), str):
            return FileContent(_decoded(argument, data), name, media)
    if isinstance(text := node.get("text"), str):
        return FileContent(text.encode("utf-8", "replace"), name, media)
    uri = node.get("uri")
    if isinstance(uri, str):
        found = _of_uri(argument, uri) if uri.startswith("data:") else linked.get(uri)
        if found is None:
            raise ArgumentFault(f"`{argument}` links to {uri[:200]!r}, which cannot be read here; give it as `data`")
        return FileContent(found.data, name or found.name, media or found.media)
    raise ArgumentFault(f"`{argument}` is a file: give its content in base64 as `data`, or a link to it as `uri`")


def content_of(uri: str, result: Mapping[str, Any]) -> FileContent:
    """The file that the result of a `resources/read` holds.

    Raises:
        ArgumentFault: none.
    """
    contents = as_list(result.get("contents")) or []
    for entry in map(as_dict, contents):
        if entry is not None and _has_content(entry):
            name = uri.partition("?")[0].rstrip("/").rpartition("/")[2]
            return file_of(uri, {"name": name, **entry}, {})
    raise ArgumentFault(f"{uri[:200]!r} holds no file")


def _described(value: Any) -> dict[str, Any]:
    """As a tool's schema has it, or as content of MCP: an embedded resource holds what is described."""
    node = as_dict(value) or {}
    inner = node.get("resource")
    return cast("dict[str, Any]", inner) if isinstance(inner, dict) else node


def _has_content(node: Mapping[str, Any]) -> bool:
    return any(isinstance(node.get(key), str) for key in ("data", "blob", "text"))


def _decoded(argument: str, text: str) -> bytes:
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        raise ArgumentFault(f"`{argument}` is not base64") from None


def _of_uri(argument: str, uri: str) -> FileContent:
    """RFC 2397."""
    head, comma, data = uri.removeprefix("data:").partition(",")
    if not comma:
        raise ArgumentFault(f"`{argument}` is not a data URI")
    media = head.partition(";")[0]
    content = _decoded(argument, data) if head.endswith(";base64") else unquote_to_bytes(data)
    return FileContent(content, media=media if _MEDIA.fullmatch(media) else "")
