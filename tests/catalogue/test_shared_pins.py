"""Pins of several nodes: what one has seen first or somebody approved at one is what all hold their upstreams to."""

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from gateway.catalogue import pins as decisions
from gateway.catalogue.pins import approved
from gateway.catalogue.shared_pins import SharedPins, publish
from gateway.errors import StoreUnavailable
from gateway.store import pins as pin_file
from gateway.store.memory import Memory, MemoryStore
from gateway.store.pins import Pins
from gateway.store.shared import Store
from gateway.store.valkey_store import ValkeyStore
from tests.store.conftest import server
from tests.store.servers import STATE_KEYS, ValkeyServer
from tests.support import wait_until

from .test_pinning import FIRST, LATER, pinning_of

__all__ = ["server"]

pytestmark = pytest.mark.anyio


class Node:
    """One of the nodes that share a store, with a file of pins of its own."""

    def __init__(self, store: Store, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self.store = store
        self.pinning = pinning_of(folder / "pins.json", a="block", b="block")
        self.shared = SharedPins(store, self.pinning)
        self.told = 0

    def changed(self, upstream: str = "a") -> list[str]:
        """What differs from the pins, of an upstream that offers `LATER`."""
        return sorted(change.name for change in self.pinning.judge(upstream, LATER).changes)

    def tell(self) -> None:
        self.told += 1

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        async with anyio.create_task_group() as tg:
            tg.start_soon(self.shared.run, self.tell)
            yield
            tg.cancel_scope.cancel()


Make = Callable[[str], Node]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    memory = Memory()
    return lambda name: Node(MemoryStore(memory), tmp_path / name)


async def test_what_one_node_pinned_a_new_one_holds_its_upstream_to(make: Make) -> None:
    one, other = make("one"), make("other")
    one.pinning.judge("a", FIRST)
    await one.shared.begin()
    await other.shared.begin()
    assert other.changed() == ["add", "mul"]
    assert other.changed("b") == []  # which nobody had seen


async def test_what_is_pinned_while_they_run_is_everybodys_soon(make: Make) -> None:
    one, other = make("one"), make("other")
    async with one.running(), other.running():
        one.pinning.judge("a", FIRST)
        await wait_until(lambda: other.told)
        assert other.changed() == ["add", "mul"]


async def test_an_approval_at_one_node_counts_at_all(make: Make) -> None:
    one, other = make("one"), make("other")
    one.pinning.judge("a", FIRST)
    for node in (one, other):
        await node.shared.begin()
    async with one.running(), other.running():
        assert one.changed() == other.changed() == ["add", "mul"]
        known = other.pinning.known or {}
        verdict = other.pinning.judge("a", LATER)
        other.pinning.adopt({**known, "a": approved(known["a"], verdict.changes)})  # as following the file does
        await wait_until(lambda: one.told)
        assert one.changed() == other.changed() == []


async def test_a_node_that_was_away_does_not_undo_what_was_approved(make: Make) -> None:
    one, away = make("one"), make("away")
    for node in (one, away):
        node.pinning.judge("a", FIRST)
    away.pinning.judge("b", FIRST)
    await one.shared.begin()
    await publish(one.store, {"a": pinned_later(one)})
    await away.shared.begin()
    await one.shared.begin()
    assert away.changed() == one.changed() == []
    assert one.changed("b") == ["add", "mul"]  # what it alone had pinned, it added


def pinned_later(node: Node) -> Pins:
    known = node.pinning.known or {}
    return replace(decisions.pins_of(LATER), server=known["a"].server)


async def test_what_was_learnt_is_in_the_file_too(make: Make, tmp_path: Path) -> None:
    one, other = make("one"), make("other")
    one.pinning.judge("a", FIRST)
    await one.shared.begin()
    await other.shared.begin()
    await other.pinning.save()
    assert pin_file.load(tmp_path / "other" / "pins.json").keys() == {"a"}


class Away(MemoryStore):
    is_away = True

    async def do(self, *args: object, **more: object) -> None:
        if self.is_away:
            raise StoreUnavailable("it is away")
        return await super().do(*args, **more)  # pyright: ignore[reportArgumentType]


async def test_without_the_store_a_node_goes_by_its_file_and_tells_later(tmp_path: Path) -> None:
    memory = Memory()
    store = Away(memory)
    node, other = Node(store, tmp_path / "one"), Node(MemoryStore(memory), tmp_path / "other")
    await node.shared.begin()
    node.pinning.judge("a", FIRST)
    assert node.changed() == ["add", "mul"]
    async with node.running(), other.running():
        store.is_away = False
        await wait_until(lambda: other.told)
        assert other.changed() == ["add", "mul"]


async def test_through_a_real_store(server: ValkeyServer, tmp_path: Path) -> None:
    one = Node(ValkeyStore(server.url, STATE_KEYS), tmp_path / "one")
    other = Node(ValkeyStore(server.url, STATE_KEYS), tmp_path / "other")
    async with anyio.create_task_group() as tg:
        for node in (one, other):
            await tg.start(node.store.run)
        async with one.running(), other.running():
            one.pinning.judge("a", FIRST)
            await wait_until(lambda: other.told)
            assert other.changed() == ["add", "mul"]
        tg.cancel_scope.cancel()
