"""A change of keys, seen from outside: who comes in now, and what becomes of what was open."""

import json
from collections.abc import Generator
from contextlib import ExitStack
from http.client import HTTPResponse
from pathlib import Path
from typing import Any

import pytest

from tests.access.door import Door, ask, http, open_session, rpc, tools
from tests.interaction._gateway import PATIENT, child, http_gateway
from tests.interaction._http import posted, sent
from tests.interaction._wire import request
from tests.support import command, run_program, wait_until

pytestmark = pytest.mark.anyio

ALICE: dict[str, Any] = {"id": "alice", "key": "key-alice", "owner": "alice", "rate_limit_rpm": -1}
BOB: dict[str, Any] = {"id": "bob", "key": "key-bob", "owner": "bob", "rate_limit_rpm": -1}
STREAM = {"Accept": "text/event-stream"}


@pytest.fixture
def door(tmp_path: Path) -> Generator[Door]:
    write(tmp_path, ALICE, BOB)
    auth: dict[str, Any] = {"enabled": True, "api_keys_file": str(tmp_path / "keys.json")}
    auth["agent_tokens"] = {"max_per_principal": 1000}
    servers = {name: child("tests.servers.raw") for name in ("one", "two")}
    with http_gateway(tmp_path, servers, auth=auth, keepalive=0.2, **PATIENT) as gateway:
        yield Door(gateway.base, tmp_path)


def write(folder: Path, *entries: dict[str, Any]) -> None:
    (folder / "keys.json").write_text(json.dumps(entries))


def open_all(stack: ExitStack, door: Door, credential: dict[str, str]) -> list[HTTPResponse]:
    """Everything that stays open, of somebody."""
    wish = {"notifications": {"toolsListChanged": True}}
    listening = posted(f"{door.base}/mcp", request("subscriptions/listen", wish, modern=True), credential)
    opened = [stack.enter_context(listening)]
    opened.append(stack.enter_context(sent("GET", f"{door.base}/sse", headers=credential)))
    if "X-Api-Key" in credential:
        session = open_session(door, credential["X-Api-Key"])
        standing = sent("GET", f"{door.base}/mcp", headers={**credential, **session, **STREAM})
        opened.append(stack.enter_context(standing))
    assert [each.status for each in opened] == [200] * len(opened)
    return opened


def register(door: Door) -> str:
    """The token of a new agent of Alice's."""
    made = http("POST", f"{door.base}/agents/register", json={"agent_name": "a"}, headers={"X-Api-Key": "key-alice"})
    return made.json()["token"]


def goes_on(response: HTTPResponse, lines: int = 10) -> bool:
    """Whether so many more lines come; there is a comment every now and then."""
    return all(response.readline() for _ in range(lines))


@pytest.mark.parametrize(
    "change",
    [None, {"allowed_upstreams": ["one"]}, {"scopes": ["write"]}, {"owner": "eve"}],
    ids=["revoked", "upstreams", "scopes", "owner"],
)
async def test_what_is_open_ends_with_what_it_was_opened_by(door: Door, change: dict[str, Any] | None) -> None:
    agent = {"X-Agent-Token": register(door)}
    with ExitStack() as stack:
        alices = [*open_all(stack, door, {"X-Api-Key": "key-alice"}), *open_all(stack, door, agent)]
        bobs = open_all(stack, door, {"X-Api-Key": "key-bob"})
        write(door.folder, BOB, *([ALICE | change] if change else []))
        assert not any(goes_on(each, 300) for each in alices)
        assert all(goes_on(each) for each in bobs)
        statuses = [ask(door, "key-alice", rpc("ping")).status_code, ask(door, None, rpc("ping"), **agent).status_code]
        assert statuses == ([200, 200] if change else [401, 401])


async def test_what_is_open_stays_open_for_who_may_do_more(door: Door) -> None:
    restricted = BOB | {"allowed_upstreams": ["one"]}
    write(door.folder, restricted)
    await wait_until(lambda: ask(door, "key-alice", rpc("ping")).status_code == 401, 30)
    with ExitStack() as stack:
        bobs = open_all(stack, door, {"X-Api-Key": "key-bob"})
        write(door.folder, BOB | {"rate_limit_rpm": 1000})
        await wait_until(lambda: any("two__" in name for name in tools(ask(door, "key-bob", rpc("tools/list")))), 30)
        assert all(goes_on(each) for each in bobs)


async def test_a_new_signing_key_is_taken_up_and_the_old_one_is_honoured(door: Door) -> None:
    def header(token: str) -> str:
        return token.partition(".")[0]

    def is_good(token: str) -> bool:
        return ask(door, None, rpc("ping"), **{"X-Agent-Token": token}).status_code == 200

    def rotate(*more: str) -> None:
        config = door.folder / "servers.json"
        run_program(command("gateway", "keys", "rotate", "-c", str(config), *more)).check_returncode()

    old = register(door)
    rotate()
    await wait_until(lambda: header(register(door)) != header(old), 30)
    new = register(door)
    assert is_good(old)
    assert is_good(new)
    rotate("--at-once")
    await wait_until(lambda: not is_good(new), 30)
    assert not is_good(old)
    assert is_good(register(door))
