"""What the benchmark's servers answer: a cheap and right MCP server of one tool, `echo`, in both eras."""

from typing import Any, Final

MODERN: Final = "2026-07-28"
_META: Final = {"io.modelcontextprotocol/serverInfo": {"name": "bench", "version": "1"}}
_TOOLS: Final = [{"name": "echo", "inputSchema": {"type": "object", "properties": {"text": {"type": "string"}}}}]


def answer(message: dict[str, Any]) -> dict[str, Any] | None:
    """The reply to one message; None when none is owed."""
    id = message.get("id")
    params: dict[str, Any] = message.get("params") or {}
    if id is None:
        return None
    result = _result(message["method"], params)
    if result is None:
        return {"jsonrpc": "2.0", "id": id, "error": {"code": -32601, "message": "Method not found"}}
    meta: dict[str, Any] = params.get("_meta") or {}
    if "io.modelcontextprotocol/protocolVersion" in meta:
        result |= {"resultType": "complete", "_meta": _META}
    return {"jsonrpc": "2.0", "id": id, "result": result}


def _result(method: str, params: dict[str, Any]) -> dict[str, Any] | None:
    match method:
        case "tools/call":
            return {"content": [{"type": "text", "text": params["arguments"]["text"]}], "isError": False}
        case "tools/list":
            return {"tools": _TOOLS, "ttlMs": 0, "cacheScope": "public"}
        case "initialize":
            version = params["protocolVersion"]
            return {
                "protocolVersion": version,
                "capabilities": {"tools": {}},
                "serverInfo": {"name": "bench", "version": "1"},
            }
        case "server/discover":
            return {"supportedVersions": [MODERN], "capabilities": {"tools": {}}, "ttlMs": 0, "cacheScope": "public"}
        case "ping":
            return {}
        case _:
            return None
