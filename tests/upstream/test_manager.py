"""All upstreams become what a configuration asks for, from whatever they are."""

import socket
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager

import anyio
import pytest

from gateway.config.models import ServerConfig
from gateway.upstream.guardian import Guardian
from gateway.upstream.listing import Listing
from gateway.upstream.manager import UpstreamManager
from gateway.upstream.upstream import Upstream
from tests.upstream.ends import DEADLINE, Hears

pytestmark = pytest.mark.anyio

NOBODY = ServerConfig(url="http://127.0.0.1:9/mcp")
OTHER = NOBODY.model_copy(update={"url": "http://127.0.0.1:9/other"})
SLOW = NOBODY.model_copy(update={"timeout": 99.0})


class Ships:
    """A fleet of servers that cannot be reached, and what is heard of it."""

    def __init__(self, guardian: Guardian) -> None:
        self._guardian = guardian
        self.fleet = UpstreamManager(
            self._make, lambda one, other: one == other, self._on_change, self._restore_subscriptions
        )
        self.on_make: Callable[[str], None] = lambda name: None
        self.changes = 0
        self.restored: list[str] = []

    def apply(self, servers: Mapping[str, ServerConfig]) -> None:
        self.fleet.apply(servers, 0)

    def _make(self, name: str, config: ServerConfig, listing: Listing | None) -> Upstream:
        self.on_make(name)
        return Upstream(name, config, Hears(), self._guardian, listing)

    def _on_change(self) -> None:
        self.changes += 1

    async def _restore_subscriptions(self, upstream: Upstream) -> None:
        self.restored.append(upstream.name)


@asynccontextmanager
async def sailing(guardian: Guardian, **servers: ServerConfig) -> AsyncGenerator[Ships]:
    ships = Ships(guardian)
    for name, config in servers.items():
        ships.fleet.add(name, config)
    async with anyio.create_task_group() as tg:
        tg.start_soon(ships.fleet.run)
        await ships.fleet.runs.wait()
        yield ships
        tg.cancel_scope.cancel()


async def test_in_the_order_of_the_file_told_once_and_the_same_stays(guardian: Guardian) -> None:
    async with sailing(guardian, a=NOBODY, b=NOBODY) as it:
        b = it.fleet.serving["b"]
        it.apply({"c": NOBODY, "b": SLOW})
        assert list(it.fleet.serving) == ["c", "b"]
        assert it.fleet.serving["b"] is b
        assert (b.config, b.successor) == (SLOW, None)
        assert it.changes == 1
        await anyio.wait_all_tasks_blocked()
        assert it.restored == ["c"]


async def test_what_failed_half_way_is_completed(guardian: Guardian) -> None:
    def fail(name: str) -> None:
        if name == "c":
            raise ZeroDivisionError

    wanted = {"b": NOBODY, "c": NOBODY, "d": NOBODY}
    async with sailing(guardian, a=NOBODY) as it:
        it.on_make = fail
        with pytest.raises(ZeroDivisionError):
            it.apply(wanted)
        b = it.fleet.serving["b"]
        it.on_make = lambda name: None
        it.apply(wanted)
        assert list(it.fleet.serving) == ["b", "c", "d"]
        assert it.fleet.serving["b"] is b
        await anyio.wait_all_tasks_blocked()
        assert it.restored == ["b", "c", "d"]


async def test_nobody_waits_any_longer_for_what_one_that_was_removed_might_have_offered(guardian: Guardian) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        config = ServerConfig(url=f"http://127.0.0.1:{silent.getsockname()[1]}/mcp", connect_timeout=3600)
        async with sailing(guardian, a=config) as it:
            a = it.fleet.serving["a"]
            it.apply({})
            with anyio.fail_after(DEADLINE):
                await a.settled.wait()


async def test_a_successor_is_what_counts_until_it_is_called_off(guardian: Guardian) -> None:
    async with sailing(guardian, a=NOBODY) as it:
        a = it.fleet.serving["a"]
        it.apply({"a": OTHER})
        successor = a.successor
        assert successor is not None
        it.apply({"a": OTHER})
        assert a.successor is successor
        slower = OTHER.model_copy(update={"timeout": 99.0})
        it.apply({"a": slower})
        assert (a.successor, a.config, successor.config) == (successor, SLOW, slower)
        it.apply({"a": NOBODY})
        assert (it.fleet.serving["a"], a.successor, a.config) == (a, None, NOBODY)
