"""An MCP server that answers 401 unless the bearer token is what a file says at that moment; it notes what it was sent.

`python -m tests.servers.locked --port PORT --token FILE --seen FILE`
"""

import argparse
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import uvicorn
from mcp.server.mcpserver import MCPServer

Scope = dict[str, Any]
App = Callable[[Scope, Any, Any], Awaitable[None]]


def locked(inner: App, token: Path, seen: Path) -> App:
    async def app(scope: Scope, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            given = dict(scope["headers"]).get(b"authorization", b"").decode("latin-1")
            if not is_let_in(given, token, seen):
                await send({"type": "http.response.start", "status": 401, "headers": []})
                await send({"type": "http.response.body", "body": f"not {given}".encode()})
                return
        await inner(scope, receive, send)

    return app


def is_let_in(given: str, token: Path, seen: Path) -> bool:
    with seen.open("a") as file:
        file.write(f"{given}\n")
    return given == f"Bearer {token.read_text().strip()}"


def server() -> MCPServer:
    made = MCPServer("locked")

    @made.tool()
    def hello() -> str:  # pyright: ignore[reportUnusedFunction]
        """Says hello."""
        return "hello"

    return made


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--transport", choices=["http"], default="http")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--token", type=Path, required=True)
    parser.add_argument("--seen", type=Path, required=True)
    given = parser.parse_args()
    app = locked(server().streamable_http_app(), given.token, given.seen)
    uvicorn.run(app, port=given.port, log_level="warning")


if __name__ == "__main__":
    main()
