"""How much: rate limits and places, as clients of every kind meet them."""

import json
import re
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.access.door import Door, ask, http, open_session, rpc
from tests.interaction._gateway import PATIENT, child, config_file, http_gateway, stdio_command
from tests.interaction._http import Sse, fields, messages, posted, sent
from tests.interaction._wire import Wire, piped, request, shake_hands

RPM = 3
"""So few that none comes back while a test runs: the next one is 20 s away."""
PEOPLE = (
    *("one", "session", "modern", "streamed", "legacy", "uncounted", "talkative", "murmuring"),
    *("upstream", "tool", "register", "cap", "free"),
)


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Generator[Door]:
    """With a key for each test, for they use it up."""
    folder = tmp_path_factory.mktemp("limits")
    generous = dict.fromkeys(("upstream", "tool", "cap"), 1000) | {"free": -1}
    entries = [{"key": f"key-{name}", "owner": name, "rate_limit_rpm": generous.get(name)} for name in PEOPLE]
    (folder / "keys.json").write_text(json.dumps(entries))
    servers = {
        "all": child("tests.servers.everything", max_concurrency=1, max_queue=1),
        "raw": child("tests.servers.raw", rate_limit={"rpm": 2, "tools": {"e*": 1}}),
    }
    auth = {
        "enabled": True,
        "api_keys_file": str(folder / "keys.json"),
        "agent_tokens": {"max_per_principal": 2},
    }
    limit = {"default_rpm": RPM, "burst_allowance": 0}
    with http_gateway(folder, servers, auth=auth, rate_limit=limit, **PATIENT) as gateway:
        door = Door(gateway.base, folder)
        assert ask(door, "key-free", rpc("tools/list")).status_code == 200  # the upstreams are up
        yield door


def is_refused(answer: httpx2.Response, rpm: int = RPM) -> bool:
    """Checks that it is in every form in which a refusal is."""
    if answer.status_code != 429:
        return False
    error = answer.json()["error"]
    assert error["code"] == -32003
    assert error["data"]["retryAfter"] > 0
    assert int(answer.headers["retry-after"]) >= error["data"]["retryAfter"]
    assert f"Try again in {answer.headers['retry-after']} s" in error["message"]
    assert answer.headers["ratelimit"].startswith('"default";r=0;t=')
    assert answer.headers["ratelimit-policy"] == f'"default";q={rpm};w=60'
    return True


def alone(door: Door, key: str) -> Callable[[], httpx2.Response]:
    return lambda: ask(door, key, rpc("tools/list"))


def in_session(door: Door, key: str) -> Callable[[], httpx2.Response]:
    session = open_session(door, key)
    return lambda: ask(door, key, rpc("tools/list"), **session)


def modern(door: Door, key: str) -> Callable[[], httpx2.Response]:
    message = request("tools/list", modern=True)
    return lambda: ask(door, key, message, **fields(message))


def streamed(door: Door, key: str) -> Callable[[], httpx2.Response]:
    params = {"name": "all__slow", "arguments": {"seconds": 0}, "_meta": {"progressToken": 1}}
    message = request("tools/call", params, modern=True)
    return lambda: ask(door, key, message, **fields(message))


@pytest.mark.parametrize(
    ("key", "way", "before"),
    [("one", alone, 0), ("session", in_session, 1), ("modern", modern, 0), ("streamed", streamed, 0)],
)
def test_every_answer_says_what_is_left_until_nothing_is(
    door: Door, key: str, way: Callable[[Door, str], Callable[[], httpx2.Response]], before: int
) -> None:
    allowed, refused = decided(door, "allowed"), decided(door, "refused")
    once = way(door, f"key-{key}")
    for left in reversed(range(RPM - before)):
        answer = once()
        assert answer.status_code == 200
        assert (way is streamed) == answer.headers["content-type"].startswith("text/event-stream")
        assert answer.headers["ratelimit"].startswith(f'"default";r={left};t=')
        assert answer.headers["ratelimit-policy"] == f'"default";q={RPM};w=60'
    assert is_refused(once())
    assert (decided(door, "allowed"), decided(door, "refused")) == (allowed + RPM, refused + 1)


def decided(door: Door, decision: str) -> float:
    """How often limits of principals decided so."""
    text = http("GET", f"{door.base}/metrics").text
    found = re.search(rf'_limit_decisions_total{{decision="{decision}",limit="principal"}} (\S+)', text)
    return float(found[1]) if found is not None else 0.0


def test_on_an_event_stream_the_error_comes_alone(door: Door) -> None:
    credential = {"X-Api-Key": "key-legacy"}
    with sent("GET", f"{door.base}/sse", headers=credential) as response:
        stream = Sse(response, door.base)

        def say(id: int) -> Any:
            posting = http("POST", stream.endpoint, json=rpc("tools/list", id=id), headers=credential)
            assert posting.status_code == 202
            return stream.receive()

        assert [("result" in say(id)) for id in range(RPM)] == [True] * RPM
        assert say(RPM)["error"]["code"] == -32003


def test_pings_and_answers_are_not_counted(door: Door) -> None:
    key = "key-uncounted"
    session = open_session(door, key)
    answered: dict[str, Any] = {"jsonrpc": "2.0", "id": 1, "result": {}}
    for message in [rpc("ping"), answered] * RPM:
        answer = ask(door, key, message, **session)
        assert answer.status_code < 300
        assert "ratelimit" not in answer.headers
    assert ask(door, key, rpc("tools/list"), **session).headers["ratelimit"].startswith(f'"default";r={RPM - 2};')


def notification(method: str) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "method": f"notifications/{method}"}


def test_notifications_are_counted_like_requests(door: Door) -> None:
    key = "key-talkative"
    session = open_session(door, key)
    told = [ask(door, key, notification("roots/list_changed"), **session) for _ in range(RPM)]
    assert [answer.status_code for answer in told[:-1]] == [202] * (RPM - 1)
    assert is_refused(told[-1])
    assert is_refused(ask(door, key, rpc("tools/list"), **session))
    assert is_refused(ask(door, key, notification("roots/list_changed")))
    modern = notification("roots/list_changed") | {"params": request("x", modern=True)["params"]}
    assert is_refused(ask(door, key, modern, **{"MCP-Protocol-Version": "2026-07-28"}))
    assert ask(door, key, notification("cancelled"), **session).status_code == 202


def test_on_the_legacy_transport_too(door: Door) -> None:
    credential = {"X-Api-Key": "key-murmuring"}
    with sent("GET", f"{door.base}/sse", headers=credential) as response:
        endpoint = Sse(response, door.base).endpoint
        said = [http("POST", endpoint, json=notification("initialized"), headers=credential) for _ in range(RPM + 1)]
        assert [answer.status_code for answer in said] == [202] * RPM + [429]


def test_an_upstream_and_a_tool_have_limits_of_their_own(door: Door) -> None:
    def call(key: str, tool: str) -> httpx2.Response:
        return ask(door, key, rpc("tools/call", {"name": tool, "arguments": {"seconds": 0}}))

    assert call("key-tool", "raw__echo").status_code == 200
    refused = call("key-tool", "raw__echo")
    assert is_refused(refused, rpm=1)
    assert "for this tool" in refused.text
    assert [call("key-upstream", f"raw__{tool}").status_code for tool in ("raw", "fail")] == [200, 200]
    refused = call("key-upstream", "raw__raw")
    assert is_refused(refused, rpm=2)
    assert "for upstream 'raw'" in refused.text
    assert call("key-upstream", "all__echo").status_code == 200
    assert call("key-free", "raw__echo").status_code == 200


def test_on_stdio_the_error_comes_alone(tmp_path: Path) -> None:
    config = config_file(tmp_path, {"raw": child("tests.servers.raw", rate_limit={"tools": {"*": 1}})}, **PATIENT)
    with piped(stdio_command(config)) as pipe:
        shake_hands(pipe)
        agent = Wire(pipe, modern=False)
        assert agent.call("raw__echo").result
        error = agent.call("raw__echo").error
        assert (error["code"], error["data"]["retryAfter"] > 0) == (-32003, True)
        for _ in range(100):
            assert agent.ask("tools/list").result


# --- Registering --------------------------------------------------------------------------------------------------


def register(door: Door, name: str) -> httpx2.Response:
    return http("POST", f"{door.base}/agents/register", json={"agent_name": "a"}, headers={"X-Api-Key": f"key-{name}"})


def test_registering_is_counted_like_a_request(door: Door) -> None:
    tried = [register(door, "register") for _ in range(2)]
    assert [each.headers["ratelimit"].split(";")[1] for each in tried] == ["r=2", "r=1"]
    assert ask(door, "key-register", rpc("tools/list")).headers["ratelimit"].startswith('"default";r=0')
    refused = register(door, "register")
    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "rate_limited")
    assert int(refused.headers["retry-after"]) >= 1


def test_a_principal_has_so_many_agents_and_theirs_are_among_them(door: Door) -> None:
    made = [register(door, "cap") for _ in range(2)]
    assert [each.status_code for each in made] == [201, 201]
    agent = {"X-Agent-Token": made[0].json()["token"]}
    by_agent = http("POST", f"{door.base}/agents/register", json={"agent_name": "b"}, headers=agent)
    for refused in (register(door, "cap"), by_agent):
        assert refused.status_code == 429
        assert "2 agents at a time" in refused.json()["error"]["message"]
    own = {"X-Api-Key": "key-cap"}
    done = http("DELETE", f"{door.base}/agents/sessions/{made[0].json()['session']['id']}", headers=own)
    assert done.status_code == 204
    assert ask(door, None, rpc("ping"), **agent).status_code == 401
    assert register(door, "cap").status_code == 201


# --- Places at an upstream ----------------------------------------------------------------------------------------


def test_one_at_a_time_one_waits_and_one_more_is_refused_at_once(door: Door) -> None:
    slow = {"name": "all__slow", "arguments": {"seconds": 600, "steps": 6000}, "_meta": {"progressToken": 1}}
    echo = rpc("tools/call", {"name": "all__echo", "arguments": {}})
    with ThreadPoolExecutor(2) as threads:
        credential = {"X-Api-Key": "key-free"}
        with posted(f"{door.base}/mcp", request("tools/call", slow, modern=True), credential) as working:
            assert next(messages(working))["method"] == "notifications/progress"  # it has the place
            tried = as_completed([threads.submit(ask, door, "key-free", echo) for _ in range(2)])
            refused = next(tried).result().json()["error"]
            assert refused["code"] == -32010
            assert refused["data"] == {"upstream": "all", "state": "busy", "delivered": False}
        assert next(tried).result().json()["result"]
