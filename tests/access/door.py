"""A gateway's door, knocked at by hand: who asks, with what, and what comes of it."""

from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import httpx2

_numbers = count()

PROXIED = {"trusted_proxies": ["127.0.0.1"]}
"""What a gateway is configured with to believe `elsewhere`."""


@dataclass(frozen=True)
class Door:
    base: str
    folder: Path
    """Where it has its configuration, and its state below."""


def rpc(method: str, params: dict[str, Any] | None = None, id: int = 1) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": id, "method": method, "params": params or {}}


def ask(door: Door, key: str | None, body: Any, path: str = "/mcp", **headers: str) -> httpx2.Response:
    sent = {"X-Api-Key": key, **headers} if key is not None else headers
    return http("POST", door.base + path, json=body, headers=sent)


def http(method: str, url: str, **more: Any) -> httpx2.Response:
    return httpx2.request(method, url, timeout=30, follow_redirects=True, **more)


def elsewhere() -> dict[str, str]:
    """Makes a request come from an address of its own, as a proxy of the gateway's would say (`PROXIED`): failures are
    counted by address."""
    number = next(_numbers)
    return {"X-Forwarded-For": f"198.18.{number // 256}.{number % 256}"}


def open_session(door: Door, key: str, path: str = "/mcp") -> dict[str, str]:
    version = "2025-11-25"
    answer = ask(door, key, rpc("initialize", {"protocolVersion": version, "capabilities": {}, "clientInfo": {}}), path)
    assert answer.status_code == 200
    return {"Mcp-Session-Id": answer.headers["mcp-session-id"], "MCP-Protocol-Version": version}


def tools(answer: httpx2.Response) -> set[str]:
    return {tool["name"] for tool in answer.json()["result"]["tools"]}
