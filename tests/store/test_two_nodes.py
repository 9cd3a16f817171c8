"""Two gateways and a real store, seen from outside: limits, agents and revocations, with the store and without it."""

import subprocess
import sys
import time
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from anyio.to_thread import run_sync as in_thread

from tests.access.door import Door, http, rpc
from tests.faults.proxy import Proxy, proxy
from tests.interaction._gateway import child, config_file
from tests.interaction._http import post, posted
from tests.interaction._wire import request
from tests.store.nodes import gateways
from tests.store.servers import ValkeyServer, valkey
from tests.support import ROOT, command, run_program, wait_until

pytestmark = pytest.mark.anyio

BURST = 40
LIMITS = {"default_rpm": 1, "burst_allowance": BURST - 1}
"""So many at once, and then none while a test runs."""
FREE = {"id": "free", "key": "key-free", "owner": "free", "rate_limit_rpm": -1}


def limited(name: str) -> dict[str, Any]:
    return {"id": name, "key": f"key-{name}", "owner": name, "rate_limit_rpm": 1}


KEYS = [FREE, *(limited(name) for name in ("even", "alone", "away", "slow", "upstream"))]
SERVERS = {"raw": child("tests.servers.raw")}
SHARES = "mcp_gateway_store_share_decisions_total"
CAP = 16
"""Requests of one principal in flight."""


@pytest.fixture(scope="module")
def nodes(server: ValkeyServer, tmp_path_factory: pytest.TempPathFactory) -> Generator[list[Door]]:
    folder, servers = tmp_path_factory.mktemp("nodes"), {**SERVERS, "all": child("tests.servers.everything")}
    settings: dict[str, Any] = {"rate_limit": LIMITS, "max_requests_per_principal": CAP}
    with gateways(folder, servers, server.url, KEYS, **settings) as doors:
        yield doors


def knock(door: Door, key: str) -> int:
    """The status of the answer."""
    return post(f"{door.base}/mcp", rpc("tools/list"), {"X-Api-Key": key})[0]


def allowed(doors: list[Door], key: str, each: int = 2 * BURST) -> int:
    """How many of so many requests at each of the nodes are answered."""
    knocks = [door for _ in range(each) for door in doors]
    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(knock, knocks, [key] * len(knocks)))
    assert {*statuses} <= {200, 429}
    return statuses.count(200)


def register(door: Door) -> tuple[dict[str, str], str]:
    """The header of a new agent's, and its session's id."""
    made = http("POST", f"{door.base}/agents/register", json={"agent_name": "a"}, headers={"X-Api-Key": "key-free"})
    assert made.status_code == 201, made.text
    return {"X-Agent-Token": made.json()["token"]}, made.json()["session"]["id"]


def ping(door: Door, agent: dict[str, str]) -> tuple[int, Any]:
    return post(f"{door.base}/mcp", rpc("ping"), agent)


def shared_out(doors: list[Door]) -> int:
    """How many were let in without the store, because it was slow to answer: this machine may be busy."""
    pages = [http("GET", f"{door.base}/metrics", headers={"X-Api-Key": "key-free"}).text for door in doors]
    lines = [line for page in pages for line in page.splitlines() if line.startswith(SHARES)]
    assert len(lines) == len(doors)
    assert all(f"{name} " in page for page in pages for name in ("mcp_gateway_store_up", "mcp_gateway_store_nodes"))
    return sum(int(float(line.split()[1])) for line in lines)


# --- With the store ---------------------------------------------------------------------------------------------------


def test_a_principal_gets_from_two_nodes_what_it_gets_from_one(nodes: list[Door]) -> None:
    before = shared_out(nodes)
    got = allowed(nodes, "key-even")
    assert BURST - 1 <= got <= BURST + 1 + shared_out(nodes) - before


def test_whichever_of_them_it_asks_first(nodes: list[Door]) -> None:
    before = shared_out(nodes)
    first = allowed(nodes[:1], "key-alone", BURST // 2)
    assert first == BURST // 2
    got = first + allowed(nodes[1:], "key-alone")
    assert BURST - 1 <= got <= BURST + 1 + shared_out(nodes) - before


def test_a_principal_has_as_many_requests_in_flight_as_it_may_on_both_together(nodes: list[Door]) -> None:
    slow = request("tools/call", {"name": "all__slow", "arguments": {"seconds": 2}}, modern=True)
    before = shared_out(nodes)
    with ThreadPoolExecutor(2 * CAP) as pool:
        asked = [pool.submit(post, f"{door.base}/mcp", slow, {"X-Api-Key": "key-free"}) for door in nodes * CAP]
        statuses = [each.result()[0] for each in asked]
    assert {*statuses} == {200, 429}
    assert CAP - 1 <= statuses.count(200) <= CAP + shared_out(nodes) - before


async def test_an_agent_of_one_node_is_the_others_too_until_it_is_revoked(nodes: list[Door]) -> None:
    one, other = nodes
    agent, id = register(one)
    assert ping(other, agent)[0] == 200
    listen = request("subscriptions/listen", {"notifications": {"toolsListChanged": True}}, modern=True)
    with posted(f"{other.base}/mcp", listen, agent) as stream:
        assert stream.status == 200
        revoked = http("DELETE", f"{one.base}/agents/sessions/{id}", headers={"X-Api-Key": "key-free"})
        assert revoked.status_code == 204
        await wait_until(lambda: ping(other, agent)[0] == 401, timeout=1.0)
        while stream.readline():  # until it ends
            pass


async def test_agents_are_listed_whichever_node_is_asked(nodes: list[Door]) -> None:
    registered = {register(door)[1] for door in nodes}

    def are_listed(door: Door) -> bool:
        listed = http("GET", f"{door.base}/agents/sessions", headers={"X-Api-Key": "key-free"}).json()["sessions"]
        return registered <= {session["id"] for session in listed}

    for door in nodes:
        await wait_until(lambda door=door: are_listed(door), timeout=30.0)


# --- Without it -------------------------------------------------------------------------------------------------------


async def test_the_store_is_killed_and_comes_back(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    with (
        valkey(tmp_path / "store") as server,
        gateways(tmp_path, SERVERS, server.url, KEYS, rate_limit=LIMITS) as nodes,
    ):
        agent, _ = register(nodes[0])
        assert ping(nodes[1], agent)[0] == 200
        server.kill()
        assert abs(allowed(nodes, "key-away") - BURST) <= 2  # half of it at each
        seen: set[int] = set()

        def is_refused() -> bool:
            answers = [ping(door, agent) for door in nodes]
            seen.update(status for status, _ in answers)
            return all(status == 503 and "gateway.store" in body["error"]["message"] for status, body in answers)

        await wait_until(is_refused, timeout=10.0)
        assert 401 not in seen
        assert all(knock(door, "key-free") == 200 for door in nodes)
        wish = {"agent_name": "a"}
        made = http("POST", f"{nodes[0].base}/agents/register", json=wish, headers={"X-Api-Key": "key-free"})
        assert made.status_code == 503
        server.start()
        await wait_until(lambda: all(ping(door, agent)[0] == 200 for door in nodes), timeout=5.0)
        register(nodes[1])


async def test_a_slow_store_slows_no_call(tmp_path: Path) -> None:
    with valkey() as server:
        async with proxy(server.url) as between:
            await use_slowly(tmp_path, between)


async def use_slowly(folder: Path, between: Proxy) -> None:
    running = ExitStack()
    entering = partial(gateways, folder, SERVERS, f"redis://127.0.0.1:{between.port}", KEYS, 1, rate_limit=LIMITS)
    (door,) = await in_thread(lambda: running.enter_context(entering()))
    try:
        assert await in_thread(allowed, [door], "key-free", 1) == 1
        await between.become("delay", pause=0.2)
        began = time.monotonic()
        assert await in_thread(allowed, [door], "key-slow", 3 * BURST) == BURST
        assert time.monotonic() - began < 3 * BURST / 8 * 0.2  # eight at once: if each waited, it would take longer
        agent, _ = await in_thread(register, door)
        assert (await in_thread(ping, door, agent))[0] == 200
    finally:
        await in_thread(running.close)


# --- Starting ---------------------------------------------------------------------------------------------------------


def test_a_gateway_starts_without_its_store(tmp_path: Path) -> None:
    with valkey() as server:
        server.kill()
        with gateways(tmp_path, SERVERS, server.url, KEYS, number=1) as (door,):
            assert knock(door, "key-free") == 200


def test_a_gateway_without_state_keys_says_so_and_does_not_start(tmp_path: Path) -> None:
    config = config_file(tmp_path, SERVERS, store="redis://u:canary@127.0.0.1:1")
    done = run_program(command("gateway", "serve", "-c", str(config)))
    assert done.returncode == 2
    assert "gateway.store: needs gateway.state_keys" in done.stderr
    assert "mcp-gateway keys state" in done.stderr
    assert "canary" not in done.stderr


def test_without_a_store_the_library_is_not_loaded() -> None:
    program = "import sys, gateway.app; print([name for name in sys.modules if name.startswith('valkey')])"
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True).stdout == "[]\n"
