"""One principal that opens all it can: it is stopped at its cap, and nobody else notices."""

import json
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from http.client import HTTPResponse
from pathlib import Path

import pytest

from tests.access.door import Door, ask, http, rpc
from tests.interaction._gateway import PATIENT, child, http_gateway
from tests.interaction._http import posted, sent
from tests.interaction._wire import request
from tests.servers.peers import OPENING
from tests.support import wait_until

CAP = 4
PEOPLE = ("alice", "bob", "carol")

Opened = AbstractContextManager[HTTPResponse]
Open = Callable[[Door, dict[str, str]], Opened]


@pytest.fixture
def door(tmp_path: Path) -> Generator[Door]:
    keys = tmp_path / "keys.json"
    keys.write_text(json.dumps([{"key": f"key-{name}", "owner": name, "rate_limit_rpm": -1} for name in PEOPLE]))
    auth = {"enabled": True, "api_keys_file": str(keys)}
    caps = {"max_sessions_per_principal": CAP, "max_sessions": CAP * len(PEOPLE)}
    with http_gateway(tmp_path, {"raw": child("tests.servers.raw")}, auth=auth, **caps, **PATIENT) as gateway:
        yield Door(gateway.base, tmp_path)


def key_of(name: str) -> dict[str, str]:
    return {"X-Api-Key": f"key-{name}"}


def session(door: Door, credential: dict[str, str]) -> Opened:
    return posted(f"{door.base}/mcp", request("initialize", OPENING), credential)


def event_stream(door: Door, credential: dict[str, str]) -> Opened:
    return sent("GET", f"{door.base}/sse", headers=credential)


def listen_stream(door: Door, credential: dict[str, str]) -> Opened:
    wish = {"notifications": {"toolsListChanged": True}}
    return posted(f"{door.base}/mcp", request("subscriptions/listen", wish, modern=True), credential)


WAYS = (session, event_stream, listen_stream)


def status(way: Open, door: Door, credential: dict[str, str]) -> int:
    """What comes of opening one, which is closed at once (a session stays)."""
    with way(door, credential) as response:
        return response.status


def fill(stack: ExitStack, way: Open, door: Door, credential: dict[str, str]) -> None:
    """Open as many as one may have; they stay open until the stack ends."""
    for _ in range(CAP):
        assert stack.enter_context(way(door, credential)).status == 200


@pytest.mark.parametrize("flooding", WAYS, ids=lambda way: way.__name__)
def test_a_cap_for_each_whatever_it_opens(door: Door, flooding: Open) -> None:
    with ExitStack() as stack:
        fill(stack, flooding, door, key_of("alice"))
        for way in WAYS:
            with way(door, key_of("alice")) as refused:
                assert (refused.status, refused.headers["Retry-After"]) == (503, "60")
                assert json.loads(refused.read())["error"]["code"] == -32016
        fill(stack, flooding, door, key_of("bob"))
        assert ask(door, "key-alice", rpc("tools/list")).status_code == 200


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_agents_count_for_whoever_is_behind_them(door: Door, way: Open) -> None:
    agents = [register(door, name) for name in ("alice", "alice", "bob")]
    with ExitStack() as stack:
        fill(stack, way, door, agents[0])
        assert [status(way, door, each) for each in (*agents, key_of("alice"))] == [503, 503, 200, 503]


def register(door: Door, name: str) -> dict[str, str]:
    made = http("POST", f"{door.base}/agents/register", json={"agent_name": "a"}, headers=key_of(name))
    return {"X-Agent-Token": made.json()["token"]}


@pytest.mark.parametrize("way", [event_stream, listen_stream], ids=lambda way: way.__name__)
@pytest.mark.anyio
async def test_a_place_is_free_when_its_connection_ends(door: Door, way: Open) -> None:
    with ExitStack() as stack:
        fill(stack, way, door, key_of("alice"))
    with ExitStack() as stack:
        for _ in range(CAP):
            await wait_until(lambda: stack.enter_context(way(door, key_of("alice"))).status == 200)


def test_a_place_is_free_when_its_session_ends_or_never_began(door: Door) -> None:
    for _ in range(CAP + 1):
        with posted(f"{door.base}/mcp", request("initialize", {}), key_of("alice")) as failed:
            assert "error" in json.loads(failed.read())
    for _ in range(CAP + 1):
        with session(door, key_of("alice")) as opened:
            assert opened.status == 200
            ended = {**key_of("alice"), "Mcp-Session-Id": opened.headers["Mcp-Session-Id"]}
        assert http("DELETE", f"{door.base}/mcp", headers=ended).status_code == 200


def test_the_others_do_not_notice(door: Door) -> None:
    """All ways at once, from many sockets, while the others open theirs and call."""

    def flood(way: Open) -> int:
        return stack.enter_context(way(door, key_of("alice"))).status

    def work(name: str) -> list[int]:
        with ExitStack() as own:
            fill(own, listen_stream, door, key_of(name))
            return [ask(door, f"key-{name}", call).status_code for _ in range(20)]

    call = rpc("tools/call", {"name": "raw__echo", "arguments": {}})
    with ExitStack() as stack, ThreadPoolExecutor(8) as threads:
        flooding = [threads.submit(flood, way) for _ in range(20) for way in WAYS]
        working = [threads.submit(work, name) for name in ("bob", "carol")]
        assert [each.result() for each in working] == [[200] * 20] * 2
        assert sorted(each.result() for each in flooding) == [200] * CAP + [503] * (20 * len(WAYS) - CAP)
