"""Host names: each once at a time, with a deadline, remembered, and none in another's way."""

import threading
from collections.abc import Generator, Sequence
from socket import gaierror
from typing import Any

import anyio
import pytest

from gateway.names import FRESH_SECONDS, MAX_NAMES, MAX_SLOW, MAX_THREADS, STALE_SECONDS, Resolver
from tests.support import wait_until

pytestmark = pytest.mark.anyio


@pytest.fixture(params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    return "asyncio", {"use_uvloop": request.param}


class Servers:
    """Name servers: names that begin with `dead` get no answer, those with `no` do not exist."""

    def __init__(self) -> None:
        self.now = 0.0
        self.asked: list[str] = []
        self.release = threading.Event()
        self.resolver = Resolver(self.lookup, lambda: self.now)

    def lookup(self, host: str) -> Sequence[str]:
        self.asked.append(host)
        if host.startswith("dead"):
            assert self.release.wait(60)
        if host.startswith("no"):
            raise gaierror(-2, "Name or service not known")
        return [f"192.0.2.{len(self.asked)}"]

    async def addresses(self, host: str, patience: float = 60) -> Sequence[str]:
        return await self.resolver.addresses(host, patience)

    async def in_vain(self, host: str) -> None:
        with pytest.raises(gaierror, match=r"does not resolve within 0\.01 s"):
            await self.addresses(host, 0.01)


def lookups() -> int:
    """How many are under way."""
    return sum(thread.name == "lookup" for thread in threading.enumerate())


@pytest.fixture
def servers() -> Generator[Servers]:
    servers = Servers()
    yield servers
    servers.release.set()
    for thread in threading.enumerate():
        if thread.name == "lookup":
            thread.join(60)


async def test_an_address_is_itself(servers: Servers) -> None:
    for address in ("127.0.0.1", "::1"):
        assert await servers.addresses(address) == (address,)
    assert servers.asked == []


async def test_a_name_is_remembered_for_a_while(servers: Servers) -> None:
    assert await servers.addresses("a") == ["192.0.2.1"]
    servers.now = FRESH_SECONDS - 1
    assert await servers.addresses("a") == ["192.0.2.1"]
    servers.now = FRESH_SECONDS
    assert await servers.addresses("a") == ["192.0.2.2"]


async def test_a_name_that_does_not_exist(servers: Servers) -> None:
    for _ in range(2):
        with pytest.raises(gaierror, match="not known"):
            await servers.addresses("no")
    assert servers.asked == ["no", "no"], "it may exist now"


async def test_names_that_do_not_resolve_stop_no_other(servers: Servers) -> None:
    for number in range(20):
        await servers.in_vain(f"dead{number}")
        assert await servers.addresses(f"live{number}")


async def test_nobody_is_looked_up_twice_at_a_time(servers: Servers) -> None:
    for _ in range(5):
        await servers.in_vain("dead")
    assert servers.asked == ["dead"]


async def test_who_waits_no_longer_takes_it_from_nobody(servers: Servers) -> None:
    found: list[Sequence[str]] = []

    async def wait() -> None:
        found.append(await servers.addresses("dead"))

    async with anyio.create_task_group() as tg:
        tg.start_soon(wait)
        await anyio.wait_all_tasks_blocked()
        with anyio.move_on_after(0):
            await servers.addresses("dead")
        servers.release.set()
    assert found == [["192.0.2.1"]]


async def test_threads_are_bounded_and_names_that_resolve_get_one(servers: Servers) -> None:
    for number in range(MAX_THREADS):
        await servers.in_vain(f"dead{number}")
    with pytest.raises(gaierror, match="64 other names are being looked up"):
        await servers.addresses("live")
    servers.release.set()
    await wait_until(lambda: lookups() == 0)
    servers.release.clear()
    for number in range(MAX_THREADS):  # again, but now they are known to be slow
        with pytest.raises(gaierror):
            await servers.addresses(f"dead{number}", 0.01)
    assert lookups() == MAX_SLOW
    assert await servers.addresses("live")


async def test_what_was_known_is_used_while_nothing_else_is(servers: Servers) -> None:
    servers.release.set()
    assert await servers.addresses("dead") == ["192.0.2.1"]
    servers.release.clear()
    servers.now = FRESH_SECONDS
    assert await servers.addresses("dead", 0.01) == ["192.0.2.1"]
    assert await servers.addresses("dead") == ["192.0.2.1"]
    assert servers.asked == ["dead"] * 2, "and nobody waits for it each time"
    servers.now += STALE_SECONDS
    await servers.in_vain("dead")


async def test_what_is_remembered_is_bounded(servers: Servers) -> None:
    for number in range(MAX_NAMES + 1):
        await servers.addresses(f"live{number}")
    servers.asked.clear()
    await servers.addresses(f"live{MAX_NAMES}")
    await servers.addresses("live0")
    assert servers.asked == ["live0"]
