"""A hand-written server whose every result holds what a typed model would lose, for telling byte from byte.

    python -m tests.servers.raw [--transport stdio|http] [--port N] [--era both|handshake|modern] [--stream]

The SDK's servers drop unknown fields and nested nulls before they reach the wire, so they cannot test that a gateway
keeps them. HTTP is at every path; `--stream` answers with server-sent events instead of JSON.
"""

import argparse
import asyncio
import os
import sys
from typing import Any, Final

from tests.servers.wire import ERAS, MESSAGE, Method, Refusal, Service, encode, lines, number, serve_stdio
from tests.servers.wire_http import HttpServer

ODD: Final[dict[str, Any]] = {
    "big": 2**70,
    "negative": -(2**65),
    "safe": 2**53 + 1,
    "one": 1.0,
    "sum": 0.1 + 0.2,
    "tiny": 5e-324,
    "huge": 1.7976931348623157e308,
    "minus zero": -0.0,
    "numbers as they were written": [
        *map(number, ("1.50", "1e5", "1E+2", "1e400", "-1e-400", "0.1234567890123456789", "100000000000000000000.0"))
    ],
    "message": MESSAGE,
    "nulls": [None, {"deep": None}, [[None]]],
    "empty": [{}, [], ""],
    "text": 'snö ☃ 𝄞 \u2028 \u0000 \\ / " </script>',
    "": "an empty key",
    "ключ": True,
}
"""Values that a lossy JSON path changes."""

EXTRA: Final[dict[str, Any]] = {"x-unknown": ODD, "_meta": {"com.example/odd": ODD, "com.example/none": None}}
"""Fields no specification names, for every object that can carry them."""

RESULT: Final[dict[str, Any]] = {
    "content": [
        {"type": "text", "text": ODD["text"], "annotations": {"priority": 0.1, "x-unknown": None}} | EXTRA,
        {"type": "image", "data": "aGk=", "mimeType": "image/png"} | EXTRA,
        {"type": "resource_link", "uri": "raw://odd", "name": "odd", "size": 2**70} | EXTRA,
        {"type": "resource", "resource": {"uri": "raw://odd", "text": ""} | EXTRA} | EXTRA,
        {"type": "hologram", "x-voxels": [[None]]},
    ],
    "structuredContent": ODD,
    "isError": False,
} | EXTRA
"""What the tool `raw` returns."""

_ANY: Final[dict[str, Any]] = {"type": "object", "additionalProperties": True, "x-unknown": ODD}

TOOLS: Final[list[dict[str, Any]]] = [
    {"name": "raw", "inputSchema": _ANY, "annotations": {"readOnlyHint": True, "x-unknown": None}} | EXTRA,
    {"name": "echo", "inputSchema": _ANY, "outputSchema": _ANY} | EXTRA,
    {"name": "fail", "inputSchema": _ANY} | EXTRA,
    {"name": "refuse", "inputSchema": _ANY} | EXTRA,
    {"name": "process", "inputSchema": _ANY} | EXTRA,
]
RESOURCES: Final[list[dict[str, Any]]] = [{"uri": "raw://odd", "name": "odd", "size": 2**70} | EXTRA]
TEMPLATES: Final[list[dict[str, Any]]] = [{"uriTemplate": "raw://{name}", "name": "any"} | EXTRA]
PROMPTS: Final[list[dict[str, Any]]] = [{"name": "odd", "arguments": [{"name": "a", "x-unknown": None}]} | EXTRA]


def call(params: dict[str, Any]) -> dict[str, Any]:
    """`raw`: the odd result. `echo`: the arguments. `fail`: a tool error. `refuse`: a JSON-RPC error with odd data.
    `process`: pid, arguments, folder and environment of this process."""
    arguments = params.get("arguments", {})
    match params["name"]:
        case "raw":
            return RESULT
        case "echo":
            return {"content": [{"type": "text", "text": encode(arguments).decode()}], "structuredContent": arguments}
        case "fail":
            return RESULT | {"isError": True}
        case "refuse":
            raise Refusal(-32050, "refused, as asked ☃", ODD)
        case "process":
            facts = {"pid": os.getpid(), "argv": sys.argv, "cwd": os.getcwd(), "env": dict(os.environ)}
            return {"content": [], "structuredContent": facts}
        case name:
            raise Refusal(-32602, f"Unknown tool: {name}")


def read(params: dict[str, Any]) -> dict[str, Any]:
    return {"contents": [{"uri": params["uri"], "text": ODD["text"], "x-unknown": ODD}]} | EXTRA


def prompt(params: dict[str, Any]) -> dict[str, Any]:
    content = {"type": "text", "text": encode(params.get("arguments")).decode()} | EXTRA
    return {"messages": [{"role": "user", "content": content, "x-unknown": None}]} | EXTRA


def service(era: str) -> Service:
    methods: dict[str, Method] = {
        "tools/list": lambda _: {"tools": TOOLS} | EXTRA,
        "tools/call": call,
        "resources/list": lambda _: {"resources": RESOURCES} | EXTRA,
        "resources/templates/list": lambda _: {"resourceTemplates": TEMPLATES} | EXTRA,
        "resources/read": read,
        "prompts/list": lambda _: {"prompts": PROMPTS} | EXTRA,
        "prompts/get": prompt,
    }
    return Service("raw", methods, era)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--transport", choices=("stdio", "http"), default="stdio")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--era", choices=ERAS, default="both")
    parser.add_argument("--stream", action="store_true")
    args = parser.parse_args()
    raw = service(args.era)

    if args.transport == "stdio":
        serve_stdio(lines(raw.answer))
    else:
        asyncio.run(HttpServer(raw, args.stream).serve(args.port))


if __name__ == "__main__":
    main()
