"""A tool's result for people to read: text as it is, anything else in one line that says what it was."""

from collections.abc import Mapping
from typing import Any, cast

from gateway import jsonrpc
from gateway.jsonrpc import as_object


def render(result: Mapping[str, Any]) -> str:
    """The content blocks, one below the other; structured content where there are none."""
    content: object = result.get("content")
    blocks = cast("list[Any]", content) if isinstance(content, list) else []
    if not blocks and "structuredContent" in result:
        return jsonrpc.pretty(result["structuredContent"])
    return "\n".join(_block(as_object(block)) for block in blocks)


def _block(block: dict[str, Any]) -> str:
    match block:
        case {"type": "text", "text": str(text)}:
            return text.removesuffix("\n")
        case {"type": "image" | "audio" as kind, "data": str(data)}:
            return f"[{kind} {_kind(block)}, {_size(_decoded(data))}; --json has the data]"
        case {"type": "resource", "resource": dict()}:
            return _resource(as_object(block["resource"]))
        case {"type": "resource_link", "uri": str(uri)}:
            title = block.get("title") or block.get("name")
            return f"[link {uri}" + (f", {title}]" if title else "]")
        case _:
            return jsonrpc.dumps(block).decode()


def _resource(resource: dict[str, Any]) -> str:
    uri, text, blob = resource.get("uri"), resource.get("text"), resource.get("blob")
    if isinstance(text, str):
        return f"[resource {uri}, {_kind(resource)}]\n" + text.removesuffix("\n")
    size = _size(_decoded(blob)) if isinstance(blob, str) else "empty"
    return f"[resource {uri}, {_kind(resource)}, {size}; --json has the data]"


def _kind(item: Mapping[str, Any]) -> str:
    return str(item.get("mimeType") or "of unknown type")


def _decoded(base64: str) -> int:
    """How many bytes Base64 text stands for."""
    return len(base64.rstrip("=")) * 3 // 4


def _size(count: int) -> str:
    if count < 1000:
        return f"{count} bytes" if count != 1 else "1 byte"
    return f"{count / 1000:.1f} kB" if count < 1_000_000 else f"{count / 1_000_000:.1f} MB"
