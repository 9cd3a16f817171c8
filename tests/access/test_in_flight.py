"""How many requests may be in flight, and whose they are."""

from typing import Any

import anyio
import pytest

from gateway.access.in_flight import InFlight
from gateway.errors import Overloaded, TooManyRequests
from gateway.frontend.agents import ConnectedAgent
from gateway.request import ANONYMOUS, Principal, Request
from tests.support import wait_until

ALICE, BOB = Principal("key:alice"), Principal("key:bob")
AGENT = Principal("agent:1", root=ALICE.id)


def capped(cap: int, cap_each: int) -> tuple[InFlight, list[str]]:
    """And the limits that refused."""
    refused: list[str] = []
    return InFlight(cap, cap_each, lambda limit, allowed: None if allowed else refused.append(limit)), refused


def test_each_has_as_many_as_the_cap_and_agents_have_their_principals() -> None:
    in_flight, refused = capped(10, 2)
    in_flight.take(ALICE)
    with in_flight.held(AGENT):
        for principal in (ALICE, AGENT, Principal("agent:2", root=ALICE.id)):
            with pytest.raises(TooManyRequests, match="max_requests_per_principal"):
                in_flight.take(principal)
        in_flight.take(BOB)
    in_flight.take(ALICE)
    assert in_flight.total == 3
    assert refused == ["in_flight_principal"] * 3


def test_all_together_have_as_many_as_the_cap() -> None:
    in_flight, refused = capped(3, 2)
    for principal in (ALICE, ALICE, BOB):
        in_flight.take(principal)
    with pytest.raises(Overloaded, match="max_requests"):
        in_flight.take(BOB)
    in_flight.give(ALICE)
    in_flight.take(BOB)
    assert refused == ["in_flight"]


def test_without_authentication_there_is_only_the_cap_of_all() -> None:
    in_flight, _ = capped(3, 1)
    for _ in range(3):
        in_flight.take(ANONYMOUS)
    with pytest.raises(Overloaded):
        in_flight.take(ANONYMOUS)


def request(method: str) -> Request:
    return Request(1, method, {}, ConnectedAgent(ALICE, None, "2025-11-25"), lambda method, params: None)


@pytest.mark.anyio
async def test_a_request_counts_until_its_answer_whatever_that_is() -> None:
    in_flight, _ = capped(1, 1)
    release = anyio.Event()

    async def answer(request: Request) -> dict[str, Any]:
        if request.method == "fail":
            raise LookupError
        if request.method != "quick":
            await release.wait()
        return {}

    layered = in_flight.layer(answer)

    async def handle(request: Request) -> None:
        await layered(request)

    for _ in range(3):
        await handle(request("quick"))
        with pytest.raises(LookupError):
            await handle(request("fail"))
    async with anyio.create_task_group() as tg:
        tg.start_soon(handle, request("subscriptions/listen"))
        tg.start_soon(handle, request("slow"))
        await wait_until(lambda: in_flight.total == 1)
        with pytest.raises(Overloaded):
            await handle(request("quick"))
        tg.cancel_scope.cancel()
    assert in_flight.total == 0
    await handle(request("quick"))
