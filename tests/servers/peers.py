"""The plainest of clients: messages out, bytes in. For proving the servers with no SDK in between."""

import http.client
import json
import os
import select
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from tests.support import command, run_process

ENVELOPE: Final[dict[str, Any]] = {
    "_meta": {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    }
}
"""`params` of a modern request."""

OPENING: Final[dict[str, Any]] = {
    "protocolVersion": "2025-11-25",
    "capabilities": {},
    "clientInfo": {"name": "test", "version": "1"},
}
"""`params` of `initialize`."""

SECONDS: Final = 30.0
"""Longest any answer may take."""


def request(method: str, params: dict[str, Any] | None = None) -> dict[str, Any]:
    """A request whose id is its method."""
    return {"jsonrpc": "2.0", "id": method, "method": method, "params": params or {}}


def calling(tool: str, **arguments: Any) -> dict[str, Any]:
    """A modern tools/call whose id is the tool's name."""
    return request("tools/call", ENVELOPE | {"name": tool, "arguments": arguments}) | {"id": tool}


@dataclass
class Pipe:
    """The client's end of a stdio server."""

    process: subprocess.Popen[bytes]

    def send(self, message: dict[str, Any]) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(message).encode() + b"\n")
        self.process.stdin.flush()

    def receive(self, until: bytes = b"\n") -> bytes:
        """All that comes, up to the first read that ends with `until`, or to the end of the stream."""
        assert self.process.stdout is not None
        received = bytearray()
        while not received.endswith(until):
            assert select.select([self.process.stdout], [], [], SECONDS)[0], f"only {bytes(received[:1000])!r}"
            chunk = os.read(self.process.stdout.fileno(), 1 << 20)
            if not chunk:
                break
            received += chunk
        return bytes(received)

    def ask(self, message: dict[str, Any]) -> Any:
        """One line's JSON."""
        self.send(message)
        return json.loads(self.receive())


@contextmanager
def stdio_server(module: str, *args: str) -> Generator[Pipe]:
    """Run one of `tests.servers` over stdio."""
    with run_process(command(module, *args), piped=True) as process:
        yield Pipe(process)


@contextmanager
def posted(url: str, message: dict[str, Any] | None, **headers: str) -> Generator[http.client.HTTPResponse]:
    """The response to a message, or to a GET for None, its body unread."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=SECONDS)
    fields = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
    if message and "_meta" in message["params"]:
        fields |= {"MCP-Protocol-Version": "2026-07-28", "Mcp-Method": message["method"]}
        fields |= {"Mcp-Name": message["params"]["name"]} if "name" in message["params"] else {}
    try:
        method, body = ("POST", json.dumps(message)) if message else ("GET", None)
        connection.request(method, url.removeprefix(f"http://{parts.netloc}"), body, fields | headers)
        with connection.getresponse() as response:
            yield response
    finally:
        connection.close()


def post(url: str, message: dict[str, Any], **headers: str) -> tuple[int, bytes]:
    """Status and body."""
    with posted(url, message, **headers) as response:
        return response.status, response.read()


def open_session(url: str) -> str:
    """A handshake-era session's id."""
    with posted(url, request("initialize", OPENING)) as response:
        assert response.status == 200
        return response.headers["Mcp-Session-Id"]
