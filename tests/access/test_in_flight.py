"""How many requests may be in flight, and whose they are."""

import pytest

from gateway.access.admission import Admission
from gateway.access.in_flight import InFlight
from gateway.access.limits import Limits
from gateway.access.rate_limit import Limit, MemoryLimiter
from gateway.call import Call
from gateway.errors import InsufficientScope, Overloaded, RateLimited, TooManyRequests
from gateway.request import ANONYMOUS, Principal
from gateway.server.agents import ConnectedAgent

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


def call(method: str) -> Call:
    return Call(1, method, {}, ConnectedAgent(ALICE, None, "2025-11-25"), ALICE, lambda method, params: None)


def test_a_call_counts_from_its_admission_to_its_end() -> None:
    in_flight, _ = capped(1, 1)
    limits = Limits(MemoryLimiter(), Limit(1), {}, lambda limit, allowed: None)
    admission = Admission(in_flight, limits, lambda call, needed: InsufficientScope(needed))
    lasting, first, second, third = call("subscriptions/listen"), call("ping"), call("ping"), call("tools/list")
    admission.enter(lasting)
    admission.enter(first)
    assert in_flight.total == 1, "listen streams have places of their own"
    with pytest.raises(Overloaded):
        admission.enter(second)
    admission.leave(second)
    assert in_flight.total == 1, "what was not taken is not given back"
    admission.leave(first)
    with pytest.raises(RateLimited):
        admission.enter(third)
    assert in_flight.total == 1
    for each in (third, third, lasting):
        admission.leave(each)
    assert in_flight.total == 0
