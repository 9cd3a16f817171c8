"""The access room as clients meet it: a real gateway, real keys, and everything one may try at its door."""

import json
import socket
import subprocess
import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.access.door import Door, ask, http, open_session, rpc, tools
from tests.interaction._gateway import PATIENT, child, http_gateway
from tests.support import ROOT, http_server

ALICE, BOB, READER = "dev-key-alice-001", "key-of-bob-0123456789abcdef", "key-of-a-reader-0123456789abcdef"
CANARY = "canary-7f3a9c1e"

KEYS = [
    {"key": ALICE, "owner": "alice", "scopes": ["read", "write", "admin"], "rate_limit_rpm": -1},
    {"key": BOB, "owner": "bob", "allowed_upstreams": ["open"], "rate_limit_rpm": -1},
    {"key": READER, "owner": "reader", "scopes": ["read"], "rate_limit_rpm": 5},
]


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Generator[Door]:
    folder = tmp_path_factory.mktemp("door")
    keys = folder / "keys.json"
    keys.write_text(json.dumps(KEYS))
    servers = {
        "open": child("tests.servers.raw"),
        "shut": child("tests.servers.raw"),
        "time": child("gateway.demo.time"),
    }
    policy = [{"who": ["bob"], "deny": ["open__fail"]}]
    auth = {"enabled": True, "api_keys_file": str(keys)}
    with http_gateway(
        folder, servers, auth=auth, policy=policy, rate_limit={"default_rpm": 10_000, "burst_allowance": 2}, **PATIENT
    ) as gateway:
        yield Door(gateway.base, folder)


# --- Credentials ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/mcp", "/mcp/open", "/upstreams", "/config/info", "/agents/sessions"])
@pytest.mark.parametrize("headers", [{}, {"X-Api-Key": "nobodys"}, {"X-Agent-Token": "a.b.c"}])
def test_nobody_comes_in_without_a_good_credential(door: Door, path: str, headers: dict[str, str]) -> None:
    method = "POST" if path.startswith("/mcp") else "GET"
    answer = http(method, door.base + path, json=rpc("tools/list"), headers=headers)
    assert answer.status_code == 401
    assert "nobodys" not in answer.text


@pytest.mark.parametrize("path", ["/health", "/readyz", "/metrics", "/docs", "/openapi.json"])
def test_what_is_public(door: Door, path: str) -> None:
    assert http("GET", door.base + path).status_code == 200


def test_a_bad_credential_is_not_passed_over(door: Door) -> None:
    answer = ask(door, "nobodys", rpc("tools/list"), **{"X-Agent-Token": "a.b.c"})
    assert answer.status_code == 401


def test_an_agent_token_is_a_part_of_its_parents_grant_and_dies_when_revoked(door: Door) -> None:
    wish = {"agent_name": "a", "agent_version": "1"}
    wish |= {"requested_upstreams": ["open", "shut"], "requested_scopes": ["read"]}
    made = http("POST", f"{door.base}/agents/register", json=wish, headers={"X-Api-Key": BOB})
    assert made.status_code == 201
    token, session = made.json()["token"], made.json()["session"]
    assert session["upstreams"] == ["open"]
    by_agent = {"X-Agent-Token": token}
    assert {name.partition("__")[0] for name in tools(ask(door, None, rpc("tools/list"), **by_agent))} == {"open"}
    call = rpc("tools/call", {"name": "open__echo", "arguments": {}})
    assert ask(door, None, call, **by_agent).status_code == 403
    gone = http("DELETE", f"{door.base}/agents/sessions/{session['id']}", headers={"X-Api-Key": BOB})
    assert gone.status_code == 204
    assert ask(door, None, rpc("tools/list"), **by_agent).status_code == 401


# --- What one sees --------------------------------------------------------------------------------------------------


def test_what_is_not_ones_own_is_not_there(door: Door) -> None:
    everything, bobs = tools(ask(door, ALICE, rpc("tools/list"))), tools(ask(door, BOB, rpc("tools/list")))
    assert bobs == {name for name in everything if name.startswith("open__")} - {"open__fail"}
    assert tools(ask(door, BOB, rpc("tools/list"), "/mcp/open")) == {name.removeprefix("open__") for name in bobs}
    for hidden in ("open__fail", "shut__echo", "no__such"):
        message: str = ask(door, BOB, rpc("tools/call", {"name": hidden})).json()["error"]["message"]
        assert message.replace(hidden, "X") == "Unknown tool: X. Call tools/list to see the tools there are now."
    shut, unknown = ask(door, BOB, rpc("tools/list"), "/mcp/shut"), ask(door, BOB, rpc("tools/list"), "/mcp/nope")
    assert shut.status_code == unknown.status_code == 404
    assert shut.text.replace("shut", "X") == unknown.text.replace("nope", "X")
    listed = http("GET", f"{door.base}/upstreams", headers={"X-Api-Key": BOB}).json()["upstreams"]
    assert [upstream["name"] for upstream in listed] == ["open"]


def test_scopes(door: Door) -> None:
    assert ask(door, READER, rpc("tools/list")).status_code == 200
    refused = ask(door, READER, rpc("tools/call", {"name": "open__echo"}))
    assert refused.status_code == 403
    assert refused.json()["error"]["data"] == {"scope": "write"}


def test_over_the_limit(door: Door) -> None:
    answers = [ask(door, READER, rpc("tools/list")) for _ in range(8)]
    assert answers[0].headers["ratelimit-policy"].startswith('"default";q=7')
    refused = answers[-1]
    assert refused.status_code == 429
    assert int(refused.headers["retry-after"]) >= 1
    assert refused.json()["error"]["data"]["retryAfter"] > 0
    assert ask(door, ALICE, rpc("tools/list")).status_code == 200


# --- Sessions -------------------------------------------------------------------------------------------------------


def test_a_stolen_session_is_worth_nothing(door: Door) -> None:
    session = open_session(door, ALICE)
    unknown = {**session, "Mcp-Session-Id": "no-such-session"}
    for method in ("POST", "GET", "DELETE"):
        for more in ({}, {"Last-Event-ID": "1"}):
            tried = [
                http(
                    method,
                    f"{door.base}/mcp",
                    json=rpc("tools/list") if method == "POST" else None,
                    headers={"X-Api-Key": BOB, "Accept": "application/json, text/event-stream", **ids, **more},
                )
                for ids in (session, unknown)
            ]
            assert [answer.status_code for answer in tried] == [404, 404]
            assert tried[0].content == tried[1].content
    assert ask(door, ALICE, rpc("tools/list"), **session).status_code == 200


def test_a_session_belongs_to_its_view(door: Door) -> None:
    session = open_session(door, ALICE, "/mcp/open")
    assert ask(door, ALICE, rpc("tools/list"), "/mcp/open", **session).status_code == 200
    assert ask(door, ALICE, rpc("tools/list"), "/mcp", **session).status_code == 404


# --- Headers --------------------------------------------------------------------------------------------------------

MCP_ENDPOINTS = ["/mcp", "/mcp/open", "/sse", "/messages"]
ENDPOINTS = [*MCP_ENDPOINTS, "/health", "/readyz", "/metrics", "/docs", "/upstreams", "/agents/sessions"]


@pytest.mark.parametrize("path", ENDPOINTS)
def test_dns_rebinding(door: Door, path: str) -> None:
    good = {"X-Api-Key": ALICE}
    method = "POST" if path in ("/mcp", "/mcp/open", "/messages") else "GET"
    rebound = http(method, door.base + path, headers={**good, "Host": "evil.example"})
    assert rebound.status_code in (403, 421)
    foreign = http(method, door.base + path, headers={**good, "Origin": "https://evil.example"})
    assert foreign.status_code == 403


@pytest.mark.parametrize(
    "line",
    [
        b"Mcp-Session-Id: a\r\nMcp-Session-Id: b",
        b"MCP-Protocol-Version: 2026-07-28\r\nMcp-Method: tools/list\r\nMcp-Method: tools/call",
        b"X-Injected: a\x00b",
        b"Mcp-Name: a\rb",
    ],
)
def test_header_injection(door: Door, line: bytes) -> None:
    body = json.dumps(rpc("tools/list")).encode()
    head = b"POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    head += b"X-Api-Key: %s\r\n" % ALICE.encode()
    parts = urlsplit(door.base)
    with socket.create_connection((parts.hostname or "", parts.port or 0), timeout=10) as wire:
        wire.sendall(head + line + b"\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        assert b" 400 " in wire.recv(65536).split(b"\r\n")[0]


@contextmanager
def wiretap(url: str) -> Generator[tuple[str, bytearray]]:
    """A relay in front of a server; yields its URL, and what clients have sent through it."""
    parts, heard = urlsplit(url), bytearray()

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
        yield f"http://127.0.0.1:{listener.getsockname()[1]}{parts.path}", heard
        listener.shutdown(socket.SHUT_RDWR)


def test_tokens_are_not_passed_through(tmp_path: Path) -> None:
    """A canary in every header an agent may send, and everything that went to the upstream searched for it."""
    keys = tmp_path / "keys.json"
    keys.write_text(json.dumps([{"key": f"{CANARY}-key-0123456789", "owner": "x", "rate_limit_rpm": -1}]))
    auth = {"enabled": True, "api_keys_file": str(keys)}
    with (
        http_server("tests.servers.raw") as url,
        wiretap(url) as (tapped, heard),
        http_gateway(tmp_path, {"raw": {"url": tapped}}, auth=auth, **PATIENT) as gateway,
    ):
        inbound = {
            "X-Api-Key": f"{CANARY}-key-0123456789",
            "Authorization": f"Bearer {CANARY}",
            "Cookie": f"session={CANARY}",
            "Proxy-Authorization": f"Bearer {CANARY}",
            "X-Forwarded-User": CANARY,
            "User-Agent": CANARY,
            "Referer": f"http://localhost/{CANARY}",
        }
        call = rpc("tools/call", {"name": "raw__echo", "arguments": {"said": "hello-there"}})
        assert http("POST", f"{gateway.base}/mcp", json=call, headers=inbound).status_code == 200
        assert b"hello-there" in heard
        assert CANARY.encode() not in heard


# --- Many -----------------------------------------------------------------------------------------------------------


def test_a_hundred_principals_and_not_one_foreign_byte(tmp_path: Path) -> None:
    names = [f"tenant-{number:03}-{number * 7919:06x}" for number in range(100)]
    keys = tmp_path / "keys.json"
    keys.write_text(json.dumps([{"key": f"key-{name}", "owner": name, "rate_limit_rpm": -1} for name in names]))
    with http_gateway(
        tmp_path, {"raw": child("tests.servers.raw")}, auth={"enabled": True, "api_keys_file": str(keys)}, **PATIENT
    ) as gateway:
        door = Door(gateway.base, tmp_path)
        for _ in range(2):
            for name in names:
                params = {"name": "raw__echo", "arguments": {"who": name}, "_meta": {"progressToken": 1}}
                answer = ask(door, f"key-{name}", rpc("tools/call", params, id=7))
                assert answer.json()["id"] == 7
                assert name in answer.text
                assert not [other for other in names if other != name and other in answer.text]


# --- As documented --------------------------------------------------------------------------------------------------

CURL = r"""
curl http://localhost:8080/health
curl http://localhost:8080/upstreams -H "X-Api-Key: dev-key-alice-001"
curl -X POST http://localhost:8080/mcp -H "Content-Type: application/json" -H "X-Api-Key: dev-key-alice-001" \
  -d '{"version":"1.0","request":{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2024-11-05","clientInfo":{"name":"my-agent","version":"1.0"}}}}'
curl -X POST http://localhost:8080/agents/register -H "Content-Type: application/json" -H "X-Api-Key: dev-key-alice-001" \
  -d '{"agent_name":"my-llm-agent","agent_version":"1.0.0","requested_upstreams":[],"requested_scopes":["read","write"]}'
curl -X POST http://localhost:8080/mcp -H "Content-Type: application/json" -H "X-Agent-Token: <token>" \
  -d '{"request":{"jsonrpc":"2.0","id":2,"method":"tools/list"}}'
curl -X POST http://localhost:8080/mcp/time -H "Content-Type: application/json" -H "X-Api-Key: dev-key-alice-001" \
  -d '{"jsonrpc":"2.0","id":1,"method":"tools/list"}'
"""  # noqa: E501 - as documented, to the letter


def test_the_curl_lines_work_as_written(door: Door) -> None:
    answers: list[dict[str, Any]] = []
    for line in CURL.replace("\\\n", " ").strip().splitlines():
        command = line.replace("http://localhost:8080", door.base.replace("127.0.0.1", "localhost"))
        if answers and "token" in answers[-1]:
            command = command.replace("<token>", answers[-1]["token"])
        done = subprocess.run(["bash", "-c", command.replace("curl ", "curl -sS ", 1)], capture_output=True, cwd=ROOT)
        assert done.returncode == 0, done.stderr
        answers.append(json.loads(done.stdout))
    health, upstreams, opened, registered, listed, own = answers
    assert health["status"] == "ok"
    assert {upstream["name"] for upstream in upstreams["upstreams"]} == {"open", "shut", "time"}
    assert opened["result"]["protocolVersion"] == "2024-11-05"
    assert registered["session"]["scopes"] == ["read", "write"]
    assert "time__now" in {tool["name"] for tool in listed["result"]["tools"]}
    assert "now" in {tool["name"] for tool in own["result"]["tools"]}
