"""The plainest of clients: one message, one answer, as bytes. For proving the servers without the SDK in between."""

import http.client
import json
import os
import select
import subprocess
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from tests.support import command, run_process

def request(method: str, params: dict[str, Any]) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": method, "method": method, "params": params}


@contextmanager
def stdio_peer(module: str, *args: str) -> Generator[Callable[[dict[str, Any]], bytes]]:
    """A started server, as a function from a message to the line it answers with."""
    with run_process(command(module, *args), piped=True) as process:
        yield partial(exchange_lines, process)


def exchange_lines(process: subprocess.Popen[bytes], message: dict[str, Any], timeout: float = 30) -> bytes:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps(message).encode() + b"\n")
    process.stdin.flush()
    line = b""
    while not line.endswith(b"\n"):
        assert select.select([process.stdout], [], [], timeout)[0], "no answer"
        chunk = os.read(process.stdout.fileno(), 1 << 20)
        assert chunk, "closed"
        line += chunk
    return line


def post(url: str, message: dict[str, Any], **headers: str) -> tuple[int, bytes, dict[str, str]]:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=30)
    fields = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
    if "_meta" in message["params"]:
        fields |= {"MCP-Protocol-Version": "2026-07-28", "Mcp-Method": message["method"]}
        fields |= {"Mcp-Name": message["params"]["name"]} if "name" in message["params"] else {}
    connection.request("POST", parts.path, json.dumps(message), fields | headers)
    response = connection.getresponse()
    body = response.read()
    connection.close()
    return response.status, body, {name.lower(): value for name, value in response.getheaders()}
