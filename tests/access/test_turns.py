"""Whose turn it is: a crowd at one address, or at many, keeps nobody else waiting."""

import anyio
import pytest

from gateway.access.turns import MAX_WAITING, FairQueue, Turns, network_of
from gateway.errors import Overloaded
from tests.support import wait_until

pytestmark = pytest.mark.anyio


def order(*addresses: str, served: int = 0) -> list[str]:
    """Who comes when, if all ask at once but for the last, who asks when some were served."""
    queue = FairQueue[str]()
    for number, address in enumerate(addresses[:-1]):
        queue.push(address, f"{address}/{number}")
    gone = [queue.pop() for _ in range(served)]
    queue.push(addresses[-1], "bob")
    return [*gone, *(queue.pop() for _ in range(len(queue)))]


@pytest.mark.parametrize("served", [0, 1, 7, 29])
def test_a_crowd_at_one_address_waits_for_itself(served: int) -> None:
    assert order(*["127.0.0.1"] * 30, "127.0.0.2", served=served).index("bob") <= served + 1
    assert order(*["192.0.2.1"] * 30, "198.51.100.7", served=served).index("bob") <= served + 1


@pytest.mark.parametrize("served", [0, 1, 150, 299])
def test_a_crowd_of_one_network_waits_for_itself(served: int) -> None:
    crowd = [f"10.0.{number // 256}.{number % 256}" for number in range(300)]
    assert order(*crowd, "192.0.2.1", served=served).index("bob") <= served + 2


def test_addresses_take_turns() -> None:
    assert order("192.0.2.1", "192.0.2.1", "198.51.100.7", "198.51.100.7", "203.0.113.1")[:3] == [
        "bob",
        "198.51.100.7/2",
        "192.0.2.1/0",
    ]


@pytest.mark.parametrize(
    ("address", "network"),
    [("192.0.2.77", "192.0.2.0/24"), ("2001:db8:1:2::3%eth0", "2001:db8:1::/48"), ("", ""), ("unix", "unix")],
)
def test_networks(address: str, network: str) -> None:
    assert network_of(address) == network


async def test_one_at_a_time_and_who_leaves_passes_it_on() -> None:
    turns, held = Turns(), list[str]()

    async def hold(name: str) -> None:
        await turns.acquire(name)
        held.append(name)

    await hold("first")
    async with anyio.create_task_group() as tg:
        tg.start_soon(hold, "second")
        with anyio.move_on_after(0.01):
            await turns.acquire("leaves")
        assert held == ["first"]
        turns.release()
        await wait_until(lambda: held == ["first", "second"])
    turns.release()
    await hold("third")


async def test_who_would_come_last_is_refused() -> None:
    turns, refused = Turns(), list[str]()
    await turns.acquire("first")

    async def wait(address: str) -> None:
        try:
            await turns.acquire(address)
        except Overloaded:
            refused.append(address)

    async with anyio.create_task_group() as tg:
        for _ in range(MAX_WAITING):
            tg.start_soon(wait, "192.0.2.1")
        await anyio.wait_all_tasks_blocked()
        tg.start_soon(wait, "198.51.100.7")
        await wait_until(lambda: refused)
        tg.cancel_scope.cancel()
    assert refused == ["192.0.2.1"]
