"""Decisions of limits, as the metrics count them: each once, also where the store had to be asked."""

import pytest

from gateway.access.limits import Limits
from gateway.access.rate_limit import Decision, Limit
from gateway.errors import RateLimited
from gateway.request import Principal

pytestmark = pytest.mark.anyio

AGENT = Principal("agent:1", rate_limit_rpm=10, root="key:1", ancestors=(("key:1", 20),))


class Waits:
    """A limiter that knows some buckets, and has to wait for the others."""

    def __init__(self, known: str, *, allows: bool = True) -> None:
        self._known = known
        self._allows = allows

    def consume(self, key: str, limit: Limit) -> Decision | None:
        return Decision(self._allows, limit, 1, 1.0, 0.0) if key == self._known else None

    async def consume_later(self, key: str, limit: Limit) -> Decision:
        return Decision(True, limit, 1, 1.0, 0.0)

    def give_back(self, key: str, limit: Limit) -> None: ...


async def test_a_decision_that_had_to_wait_for_another_is_counted_once() -> None:
    seen: list[tuple[str, bool]] = []
    limits = Limits(Waits("principal:agent:1"), Limit(60), {}, lambda limit, allowed: seen.append((limit, allowed)))
    assert limits.count_now(AGENT) is None
    assert seen == []
    await limits.count_later(AGENT)
    assert seen == [("principal", True)] * 2


async def test_a_refusal_is_counted_at_once() -> None:
    seen: list[tuple[str, bool]] = []
    limits = Limits(
        Waits("principal:agent:1", allows=False), Limit(60), {}, lambda limit, allowed: seen.append((limit, allowed))
    )
    with pytest.raises(RateLimited):
        limits.count_now(AGENT)
    assert seen == [("principal", False)]
