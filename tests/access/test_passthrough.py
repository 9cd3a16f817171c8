"""What an agent sends beside its request stays at the door: headers, credentials, and what hides in either."""

import base64
import json
import socket
import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

import pytest

from tests.access.door import Door, ask, http, rpc
from tests.interaction._gateway import PATIENT, http_gateway
from tests.interaction._http import fields
from tests.interaction._wire import request
from tests.servers.peers import ENVELOPE
from tests.support import http_server

CANARY = "canary-7f3a9c1e"


@dataclass(frozen=True)
class Tapped(Door):
    """A gateway whose upstreams are heard."""

    heard: bytearray

    def calls(self, said: str, tool: str = "raw__echo", argument: str = "said") -> bool:
        params = {"name": tool, "arguments": {argument: said}, **ENVELOPE}
        message = rpc("tools/call", params)
        headers = {**fields(message), f"Mcp-Param-{argument}": encoded(said)}
        answer = ask(self, "key-x", message, **headers)
        return answer.status_code == 200 and "error" not in answer.json()


def encoded(text: str) -> str:
    """As a client writes what no header can hold (2026-07-28, basic/transports/streamable-http)."""
    return text if text.isprintable() else f"=?base64?{base64.b64encode(text.encode()).decode()}?="


@contextmanager
def wiretap(url: str, heard: bytearray) -> Generator[str]:
    """A relay in front of a server; yields its URL, and adds to `heard` what clients send through it."""
    parts = urlsplit(url)

    def relay(source: socket.socket, sink: socket.socket, ear: bytearray | None) -> None:
        with source:
            with suppress(OSError):
                while data := source.recv(65536):
                    if ear is not None:
                        ear.extend(data)
                    sink.sendall(data)
            with suppress(OSError):
                sink.shutdown(socket.SHUT_RDWR)

    def accept() -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                server = socket.create_connection((parts.hostname or "", parts.port or 0))
                threading.Thread(target=relay, args=(client, server, heard), daemon=True).start()
                threading.Thread(target=relay, args=(server, client, None), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=accept, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}{parts.path}"
        listener.shutdown(socket.SHUT_RDWR)


@pytest.fixture(scope="module")
def tapped(tmp_path_factory: pytest.TempPathFactory) -> Generator[Tapped]:
    folder = tmp_path_factory.mktemp("tapped")
    keys = folder / "keys.json"
    names = ("key-x", f"{CANARY}-key-0123456789")
    keys.write_text(json.dumps([{"key": name, "owner": name[:5], "rate_limit_rpm": -1} for name in names]))
    auth = {"enabled": True, "api_keys_file": str(keys)}
    heard = bytearray()
    with (
        http_server("tests.servers.raw") as raw,
        http_server("tests.servers.everything") as everything,
        wiretap(raw, heard) as one,
        wiretap(everything, heard) as other,
        http_gateway(folder, {"raw": {"url": one}, "all": {"url": other}}, auth=auth, **PATIENT) as gateway,
    ):
        tapped = Tapped(gateway.base, folder, heard)
        assert tapped.calls("hello")
        yield tapped


# --- Injection ----------------------------------------------------------------------------------------------------

MODERN = b"MCP-Protocol-Version: 2026-07-28\r\nMcp-Method: tools/call\r\nMcp-Name: raw__echo"


@pytest.mark.parametrize(
    "line",
    [
        b"Mcp-Session-Id: a\r\nMcp-Session-Id: b",
        b"MCP-Protocol-Version: 2025-11-25\r\nMCP-Protocol-Version: 2026-07-28",
        MODERN + b"\r\nMcp-Method: tools/list",
        MODERN + b"\r\nMcp-Name: raw__fail",
        MODERN + b"\r\nMcp-Param-A: a\x00b",
        MODERN + b"\r\nMcp-Param-A: a\rX-Injected: b",
        b"X-Injected: a\x00b",
        b"Mcp-Name: a\rb",
        b"Bad Name: a",
        b"Content-Length: 1",
        b"Transfer-Encoding: chunked",
    ],
)
def test_header_injection(tapped: Tapped, line: bytes) -> None:
    """Refused, and nothing of it reaches the upstream."""
    params = {"name": "raw__echo", "arguments": {"said": CANARY}, **(ENVELOPE if MODERN in line else {})}
    body = json.dumps(rpc("tools/call", params)).encode()
    head = b"POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nX-Api-Key: key-x\r\n"
    parts = urlsplit(tapped.base)
    with socket.create_connection((parts.hostname or "", parts.port or 0), timeout=10) as wire:
        wire.sendall(head + line + b"\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        assert b" 400 " in wire.recv(65536).split(b"\r\n")[0]
    assert tapped.calls("after")  # whatever was sent before has arrived by now
    assert CANARY.encode() not in tapped.heard
    assert b"injected" not in tapped.heard.lower()


def test_an_argument_is_no_way_to_inject_a_header(tapped: Tapped) -> None:
    """`Mcp-Param-*` carries arguments to the upstream, and arguments may be anything."""
    assert tapped.calls("x\r\nX-Injected: y", tool="all__test_x_mcp_header", argument="region")
    assert b"mcp-param-region" in tapped.heard.lower()
    assert b"\nx-injected" not in tapped.heard.lower()


# --- Credentials --------------------------------------------------------------------------------------------------

NOT_PASSED_ON = (
    *("X-Agent-Token", "Authorization", "Proxy-Authorization", "Cookie", "Cookie2", "X-Auth-Token", "X-Access-Token"),
    *("X-Forwarded-User", "X-Forwarded-For", "Forwarded", "Via", "X-Real-Ip", "User-Agent", "Referer", "From"),
    *("X-Amzn-Oidc-Data", "Cf-Access-Jwt-Assertion", "X-Canary", "Accept-Language", "Last-Event-Id"),
)


@pytest.mark.parametrize("modern", [False, True], ids=["handshake", "modern"])
def test_tokens_are_not_passed_through(tapped: Tapped, modern: bool) -> None:
    """A canary in every header an agent may send, and everything that went to the upstreams searched for it."""
    inbound = {"X-Api-Key": f"{CANARY}-key-0123456789"} | dict.fromkeys(NOT_PASSED_ON, f"Bearer {CANARY}")
    for method, params in (
        ("tools/call", {"name": "raw__echo", "arguments": {"said": f"hello-{modern}"}}),
        ("tools/call", {"name": "all__echo", "arguments": {"said": f"hello-{modern}"}}),
        ("resources/read", {"uri": "test://static-text"}),
        ("prompts/get", {"name": "all__test_simple_prompt"}),
    ):
        message = request(method, params, modern=modern)
        answer = http("POST", f"{tapped.base}/mcp", json=message, headers={**fields(message), **inbound})
        assert "result" in answer.json()
        assert CANARY not in answer.text
    assert tapped.heard.count(f"hello-{modern}".encode()) == 2
    assert CANARY.encode() not in tapped.heard
