"""The access room as clients meet it: a real gateway, real keys, and everything one may try at its door."""

import json
import subprocess
from collections.abc import Generator
from typing import Any

import httpx2
import pytest

from tests.access.door import PROXIED, Door, ask, elsewhere, http, open_session, rpc, tools
from tests.interaction._gateway import PATIENT, child, http_gateway
from tests.interaction._http import Sse, sent
from tests.support import ROOT

ALICE, BOB, READER = "dev-key-alice-001", "key-of-bob-0123456789abcdef", "key-of-a-reader-0123456789abcdef"

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
    rate_limit = {"default_rpm": 10_000, "burst_allowance": 2}
    with http_gateway(
        folder, servers, auth=auth, policy=policy, rate_limit=rate_limit, **PATIENT, **PROXIED
    ) as gateway:
        yield Door(gateway.base, folder)


# --- Credentials ----------------------------------------------------------------------------------------------------


BAD: list[dict[str, str]] = [
    {},
    {"X-Api-Key": "nobodys"},
    {"X-Agent-Token": "a.b.c"},
    {"Authorization": "Bearer nobodys"},
    {"Authorization": "Bearer e30.e30.nobodys"},
    {"Authorization": f"Basic {BOB}"},
]


@pytest.mark.parametrize("headers", BAD, ids=str)
def test_nobody_comes_in_without_a_good_credential(door: Door, headers: dict[str, str]) -> None:
    for method, path in endpoints(door):
        answer = http(method, door.base + path, headers=headers | elsewhere())
        assert (answer.status_code == 401) == (not path.startswith(PUBLIC)), f"{method} {path}: {answer.status_code}"
        assert "nobodys" not in answer.text


PUBLIC = ("/health", "/readyz", "/metrics", "/docs", "/openapi.json")


def endpoints(door: Door) -> list[tuple[str, str]]:
    """Everything there is, as method and path."""
    described = http("GET", f"{door.base}/openapi.json").json()["paths"]
    rest = [(method.upper(), path) for path, operations in described.items() for method in operations]
    assert ("POST", "/upstreams/{name}/restart") in rest
    mcp = [(method, path) for method in ("GET", "POST", "DELETE") for path in ("/mcp", "/mcp/open", "/mcp/none")]
    undescribed = [("GET", path) for path in ("/docs", "/docs/swagger-ui.css", "/openapi.json", "/nowhere")]
    return [*rest, *mcp, ("GET", "/sse"), ("POST", "/messages"), *undescribed]


@pytest.mark.parametrize("path", PUBLIC)
def test_what_is_public(door: Door, path: str) -> None:
    for headers in BAD:
        assert http("GET", door.base + path, headers=headers).status_code == 200


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER "])
def test_an_api_key_is_a_bearer_too(door: Door, scheme: str) -> None:
    """Most clients have no other way to send one."""
    bearer = {"Authorization": f"{scheme} {BOB}"}
    assert tools(ask(door, None, rpc("tools/list"), **bearer)) == tools(ask(door, BOB, rpc("tools/list")))
    headers = open_session(door, BOB)
    assert ask(door, None, rpc("ping"), **headers, **bearer).status_code == 200, "it is the same principal"
    assert ask(door, "nobodys", rpc("ping"), **bearer, **elsewhere()).status_code == 401, "the order of the ways stays"


def test_a_401_says_how_to_come_in(door: Door) -> None:
    for headers in BAD:
        answer = ask(door, None, rpc("ping"), **headers, **elsewhere())
        assert answer.status_code == 401
        challenge = answer.headers["www-authenticate"]
        assert challenge.startswith('Bearer realm="mcp-gateway"')
        assert ("invalid_token" in challenge) == ("Authorization" in headers)
        assert "resource_metadata" not in challenge, "there is no authorization server"


def test_a_bad_bearer_counts_as_a_failure(door: Door) -> None:
    here = elsewhere()
    statuses = list[int]()
    while 429 not in statuses and len(statuses) < 1000:  # the slower, the more of them are free
        guess = f"Bearer guess-{len(statuses)}"
        statuses.append(ask(door, None, rpc("ping"), Authorization=guess, **here).status_code)
    assert set(statuses) == {401, 429}
    assert ask(door, None, rpc("ping"), Authorization=f"Bearer {BOB}", **here).status_code == 429


def test_a_bad_credential_is_not_passed_over(door: Door) -> None:
    agent = {"X-Agent-Token": register(door, BOB)}
    assert ask(door, None, rpc("ping"), **agent).status_code == 200
    for bad in ("nobodys", "", f"{BOB}x", f"{BOB}, {BOB}"):
        assert ask(door, bad, rpc("ping"), **agent, **elsewhere()).status_code == 401
    assert ask(door, BOB, rpc("ping"), **{"X-Agent-Token": "a.b.c"}).status_code == 200  # the first one decides


def test_a_credential_that_stands_there_twice_is_none(door: Door) -> None:
    headers = [("X-Api-Key", BOB), ("X-Api-Key", BOB), *elsewhere().items()]
    assert http("GET", f"{door.base}/upstreams", headers=headers).status_code == 401


def test_a_flood_of_bad_keys_hurts_nobody_else(door: Door) -> None:
    here, there = elsewhere(), elsewhere()

    def knock(key: str, address: dict[str, str] = here) -> httpx2.Response:
        return ask(door, key, rpc("ping"), **address)

    assert knock(BOB).status_code == 200
    flood = [knock(f"guess-{number}") for number in range(60)]
    assert [each.status_code for each in flood] == [401] * 60
    others = (knock(f"another-{number}") for number in range(10_000))
    refused = next(each for each in others if each.status_code == 429)  # some are heard, for meanwhile time goes by
    assert int(refused.headers["retry-after"]) >= 1
    assert knock(READER).status_code == 429  # new here
    assert knock(BOB).status_code == 200
    assert knock(READER, there).status_code == 200
    counted = http("GET", f"{door.base}/metrics").text
    assert 'mcp_gateway_limit_decisions_total{decision="refused",limit="failures"}' in counted


def register(door: Door, key: str) -> str:
    """A new agent's token."""
    made = http("POST", f"{door.base}/agents/register", json={"agent_name": "a"}, headers={"X-Api-Key": key})
    assert made.status_code == 201
    return made.json()["token"]


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


def test_a_stolen_event_stream_is_worth_nothing(door: Door) -> None:
    with sent("GET", f"{door.base}/sse", headers={"X-Api-Key": ALICE}) as response:
        stream = Sse(response, door.base)
        unknown = f"{door.base}/messages?session_id=no-such-session"
        stolen, nothing = (
            http("POST", url, json=rpc("ping"), headers={"X-Api-Key": BOB}) for url in (stream.endpoint, unknown)
        )
        assert (stolen.status_code, stolen.content) == (nothing.status_code, nothing.content) == (404, nothing.content)
        assert http("POST", stream.endpoint, json=rpc("ping"), headers={"X-Api-Key": ALICE}).status_code == 202
        assert stream.receive() == {"jsonrpc": "2.0", "id": 1, "result": {}}


def test_a_session_belongs_to_its_view(door: Door) -> None:
    session = open_session(door, ALICE, "/mcp/open")
    assert ask(door, ALICE, rpc("tools/list"), "/mcp/open", **session).status_code == 200
    assert ask(door, ALICE, rpc("tools/list"), "/mcp", **session).status_code == 404


# --- Names ------------------------------------------------------------------------------------------------------


def test_dns_rebinding(door: Door) -> None:
    for method, path in endpoints(door):
        for host in ("evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "localhost, evil.example", ""):
            rebound = http(method, door.base + path, headers={"X-Api-Key": ALICE, "Host": host})
            assert rebound.status_code == 421, f"{method} {path} for {host}"
        for origin in ("https://evil.example", "null", "http://localhost.evil.example"):
            foreign = http(method, door.base + path, headers={"X-Api-Key": ALICE, "Origin": origin})
            assert foreign.status_code == 403, f"{method} {path} from {origin}"
            assert "access-control-allow-origin" not in foreign.headers


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
