"""What the benchmark's servers answer: a cheap and right MCP server, in both eras.

Its tools: `echo` returns its text; `big` returns so many KiB; `fail` is a tool error, `refuse` a JSON-RPC error. How
`slow` (answers after so many milliseconds) and `step` (the same, with progress before) come late is the transport's.
"""

from collections.abc import Callable
from typing import Any, Final

from tests.servers.wire import HANDSHAKE

MODERN: Final = "2026-07-28"
_INFO: Final = {"name": "bench", "version": "1"}
_META: Final = {"io.modelcontextprotocol/serverInfo": _INFO}
_FRESH: Final = {"ttlMs": 3_600_000, "cacheScope": "public"}
TOOLS: Final = ("echo", "big", "fail", "refuse", "slow", "step")
PAGE: Final = 1000
"""Tools."""

Message = dict[str, Any]
Answer = Callable[[Message], Message | None]
"""The reply to one message; None when none is owed."""


def tool(name: str) -> Message:
    """A definition as long as they usually are: 430 bytes."""
    properties = {
        "text": {"type": "string", "description": "What it is about, in so many words."},
        "kb": {"type": "integer", "minimum": 1, "maximum": 100_000, "default": 64},
        "ms": {"type": "integer", "minimum": 1, "description": "How long it takes."},
    }
    description = f"Does what its name, {name}, says: newest first, limited and filtered by what it is given."
    return {"name": name, "description": description, "inputSchema": {"type": "object", "properties": properties}}


def tools(count: int) -> list[Message]:
    """Exactly so many, the first of which work; 0 for those that work."""
    names = [*TOOLS, *(f"filler_{number}" for number in range(count - len(TOOLS)))]
    return [tool(name) for name in names[: count or None]]


def answering(listed: Callable[[], list[Message]], capability: Message | None = None, *, modern: bool = True) -> Answer:
    """
    Args:
        listed: its tools by now.
        capability: of its tools.
        modern: whether it speaks both eras, and not only the earlier.
    """
    capabilities = {"tools": capability or {}}

    def result(method: str, params: Message) -> Message | None:
        match method:
            case "tools/call":
                return called(params["name"], params["arguments"])
            case "tools/list":
                return page(listed(), int(params.get("cursor") or 0)) | (_FRESH if modern else {})
            case "initialize":
                version = params["protocolVersion"]
                version = version if version in HANDSHAKE else HANDSHAKE[-1]
                return {"protocolVersion": version, "capabilities": capabilities, "serverInfo": _INFO}
            case "server/discover" if modern:
                return {"supportedVersions": [MODERN], "capabilities": capabilities, **_FRESH}
            case "ping":
                return {}
            case _:
                return None

    def answer(message: Message) -> Message | None:
        if (id := message.get("id")) is None or "method" not in message:
            return None
        params: Message = message.get("params") or {}
        found = result(message["method"], params)
        if found is None:
            code, why = (-32602, "Unknown tool") if message["method"] == "tools/call" else (-32601, "Method not found")
            return {"jsonrpc": "2.0", "id": id, "error": {"code": code, "message": why}}
        if "io.modelcontextprotocol/protocolVersion" in (params.get("_meta") or {}):
            found |= {"resultType": "complete", "_meta": _META}
        return {"jsonrpc": "2.0", "id": id, "result": found}

    return answer


def page(listed: list[Message], at: int) -> Message:
    rest = {"nextCursor": str(at + PAGE)} if len(listed) > at + PAGE else {}
    return {"tools": listed[at : at + PAGE], **rest}


def called(name: str, arguments: Message) -> Message | None:
    match name:
        case "echo":
            return text(arguments["text"])
        case "big":
            return text("x" * (arguments["kb"] * 1024))
        case "fail":
            return text("failed") | {"isError": True}
        case "slow" | "step":
            return text(name)
        case _:
            return None


def text(content: str) -> Message:
    return {"content": [{"type": "text", "text": content}], "isError": False}
