"""A hand-written server whose results are as large as is asked, and of every kind.

python -m tests.servers.large [--transport stdio|http] [--port N] [--era both|handshake|modern]
"""

import argparse
import asyncio
import os
from typing import Any, Final

from tests.servers.wire import ERAS, Method, Refusal, Service, encode, lines, serve_stdio
from tests.servers.wire_http import HttpServer

IMAGE: Final[dict[str, Any]] = {"type": "image", "data": "aGk=" * 2000, "mimeType": "image/png"}
LINK: Final[dict[str, Any]] = {"type": "resource_link", "uri": "result://theirs", "name": "theirs"}

_SCHEMA: Final[dict[str, Any]] = {"type": "object", "properties": {"count": {"type": "integer"}}}
_OUTPUT: Final[dict[str, Any]] = {"type": "object", "properties": {"rows": {"type": "array"}}}
_NAMES: Final = ("lines", "table", "mixed", "fail", "read_result")
TOOLS: Final[list[dict[str, Any]]] = [
    {"name": name, "inputSchema": _SCHEMA, **({"outputSchema": _OUTPUT} if name == "table" else {})} for name in _NAMES
]


def text_of(count: int) -> str:
    """So many lines, with characters of one to four bytes."""
    return "".join(f"line {number}: ä ☃ 𝄞\n" for number in range(count))


def call(params: dict[str, Any]) -> dict[str, Any]:
    """`lines`: so many lines. `table`: so many rows, structured too. `mixed`: lines, an image, lines, a link, and lines
    in a resource. `fail`: an error of so many lines. `read_result`: says who it is."""
    count = int(params.get("arguments", {}).get("count", 1000))
    text = {"type": "text", "text": text_of(count)}
    match params["name"]:
        case "lines":
            return {"content": [text], "_meta": {"com.example/kept": True}}
        case "table":
            rows = {"rows": [*range(count)]}
            return {"content": [{"type": "text", "text": encode(rows).decode()}], "structuredContent": rows}
        case "mixed":
            resource = {"type": "resource", "resource": {"uri": "file:///a", "text": text_of(count)}}
            return {"content": [text, IMAGE, text, LINK, resource]}
        case "fail":
            return {"content": [text], "isError": True}
        case "read_result":
            return {"content": [{"type": "text", "text": f"mine, {os.getpid()}"}]}
        case name:
            raise Refusal(-32602, f"Unknown tool: {name}")


def read(params: dict[str, Any]) -> dict[str, Any]:
    return {"contents": [{"uri": params["uri"], "text": f"theirs: {params['uri']}"}]}


def service(era: str) -> Service:
    methods: dict[str, Method] = {
        "tools/list": lambda _: {"tools": TOOLS},
        "tools/call": call,
        "resources/templates/list": lambda _: {
            "resourceTemplates": [{"uriTemplate": "result://{name}", "name": "any"}]
        },
        "resources/list": lambda _: {"resources": []},
        "resources/read": read,
    }
    return Service("large", methods, era)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--transport", choices=("stdio", "http"), default="stdio")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--era", choices=ERAS, default="both")
    args = parser.parse_args()
    large = service(args.era)

    if args.transport == "stdio":
        serve_stdio(lines(large.answer))
    else:
        asyncio.run(HttpServer(large, False).serve(args.port))


if __name__ == "__main__":
    main()
