"""The token bucket as a table, its invariants, and the layer that applies it."""

import math
from contextlib import suppress
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.access.admission import Admission
from gateway.access.in_flight import InFlight
from gateway.access.limits import Limits, UpstreamLimits
from gateway.access.rate_limit import Bucket, Limit, MemoryLimiter, header_lines, headers
from gateway.call import Call, LoggedLine
from gateway.errors import InsufficientScope, RateLimited
from gateway.request import ANONYMOUS, Principal
from gateway.server.agents import ConnectedAgent


def test_a_full_bucket_serves_its_capacity_at_once_and_then_its_rate() -> None:
    limit = Limit(rpm=60, burst=10)
    bucket = Bucket.full(limit, now=0)
    assert [bucket.consume(limit, 0).allowed for _ in range(70)] == [True] * 70
    refused = bucket.consume(limit, 0)
    assert not refused.allowed
    assert refused.retry_after == pytest.approx(1)
    assert bucket.consume(limit, 1).allowed
    assert not bucket.consume(limit, 1).allowed
    assert [bucket.consume(limit, 1000).allowed for _ in range(71)] == [True] * 70 + [False]


def test_a_clock_that_steps_back_gives_nothing_away() -> None:
    limit = Limit(rpm=60)
    bucket = Bucket.full(limit, now=100)
    for _ in range(60):
        bucket.consume(limit, 100)
    assert not bucket.consume(limit, 0).allowed
    assert not bucket.consume(limit, 100.5).allowed


@given(
    rpm=st.integers(1, 10_000),
    burst=st.integers(0, 1000),
    steps=st.lists(st.floats(0, 100, allow_nan=False), max_size=50),
)
def test_never_more_than_capacity_and_rate_allow(rpm: int, burst: int, steps: list[float]) -> None:
    limit = Limit(rpm, burst)
    bucket, now, served = Bucket.full(limit, 0), 0.0, 0
    for step in steps:
        now += step
        decision = bucket.consume(limit, now)
        served += decision.allowed
        assert served <= limit.capacity + now * limit.per_second + 1e-6
        assert 0 <= decision.remaining <= limit.capacity
        assert decision.allowed == (decision.retry_after == 0)
        if not decision.allowed:
            assert Bucket(bucket.tokens, bucket.at).consume(limit, now + decision.retry_after + 1e-6).allowed


def test_the_quietest_is_forgotten_first() -> None:
    limiter = MemoryLimiter(clock=lambda: 0.0, cap=2)
    limit = Limit(rpm=1)
    assert limiter.consume("a", limit).allowed
    assert limiter.consume("b", limit).allowed
    assert not limiter.consume("a", limit).allowed
    assert limiter.consume("c", limit).allowed
    assert not limiter.consume("a", limit).allowed
    assert limiter.consume("b", limit).allowed


def admission(limits: Limits) -> Admission:
    in_flight = InFlight(1000, 1000, lambda limit, allowed: None)
    return Admission(in_flight, limits, lambda call, needed: InsufficientScope(needed))


@dataclass
class Exchange:
    """The HTTP request that a call came by."""

    id: str = ""
    logged: LoggedLine | None = None
    rate_limit: str = ""
    headers: dict[str, str] = field(default_factory=dict[str, str])
    address: str = ""
    received: int = 0


def request(principal: Principal, method: str = "tools/list") -> Call:
    return Call(1, method, {}, ConnectedAgent(principal, None, "2025-11-25"), principal, lambda method, params: None)


def limits(upstreams: dict[str, UpstreamLimits] | None = None) -> tuple[Limits, list[tuple[str, bool]]]:
    seen: list[tuple[str, bool]] = []
    limiter = MemoryLimiter(clock=lambda: 0.0)
    return Limits(limiter, Limit(2), upstreams or {}, lambda kind, allowed: seen.append((kind, allowed))), seen


def test_each_principal_has_its_own_limit() -> None:
    guard, seen = limits()
    admit = admission(guard).enter
    first, second = Principal("key:1"), Principal("key:2", rate_limit_rpm=1)
    answered = request(first)
    answered.http = Exchange()
    admit(answered)
    assert answered.http is not None
    assert answered.http.rate_limit == 'ratelimit-policy: "default";q=2;w=60\r\nratelimit: "default";r=1;t=30\r\n'
    admit(request(first))
    with pytest.raises(RateLimited) as refused:
        admit(request(first))
    assert refused.value.status == 429
    assert refused.value.headers["retry-after"] == "30"
    assert refused.value.headers["ratelimit"].startswith('"default";r=0')
    admit(request(second))
    with pytest.raises(RateLimited):
        admit(request(second))
    admit(request(second, "ping"))
    assert (guard.allowed, seen) == (3, [("principal", False)] * 2)


def test_no_limit_means_none() -> None:
    guard, seen = limits()
    admit = admission(guard).enter
    for principal in (ANONYMOUS, Principal("key:3", rate_limit_rpm=-1)):
        for _ in range(100):
            admit(request(principal))
    assert seen == []


def test_upstream_and_tool_limits() -> None:
    guard, seen = limits({"git": UpstreamLimits(Limit(3), {"slow_*": Limit(1), "*": Limit(2)})})
    call = request(Principal("key:1"), "tools/call")
    guard.count_upstream_now(call.principal, "git", "slow_log")
    with pytest.raises(RateLimited, match="this tool"):
        guard.count_upstream_now(call.principal, "git", "slow_log")
    guard.count_upstream_now(call.principal, "git", "log")
    with pytest.raises(RateLimited, match="upstream 'git'"):
        guard.count_upstream_now(call.principal, "git", None)
    guard.count_upstream_now(call.principal, "time", "now")
    guard.count_upstream_now(Principal("key:2"), "git", None)
    assert ("tool", False) in seen
    assert ("upstream", False) in seen


def test_agents_have_together_what_their_key_has() -> None:
    guard, _ = limits({"git": UpstreamLimits(None, {"*": Limit(2)}), "time": UpstreamLimits(Limit(3))})
    root = "key:1", 4
    agents = [Principal(f"agent:{each}", root="key:1", ancestors=(root,), rate_limit_rpm=-1) for each in range(20)]
    heir = Principal("agent:heir", root="key:1", ancestors=(root, ("agent:0", 1)))
    assert 'ratelimit: "default";r=0' in (guard.count_now(heir) or ""), "what is left is what the tightest leaves"
    with pytest.raises(RateLimited):
        guard.count_now(heir)
    allowed = 0
    for agent in agents:
        with suppress(RateLimited):
            guard.count_now(agent)
            allowed += 1
    assert allowed == 3
    with pytest.raises(RateLimited):
        guard.count_now(Principal("key:1", rate_limit_rpm=4))
    guard.count_now(Principal("key:2"))
    for upstream, most in (("git", 2), ("time", 3)):
        passed = 0
        for agent in agents:
            with suppress(RateLimited):
                guard.count_upstream_now(agent, upstream, "log")
                passed += 1
        assert passed == most


@pytest.mark.parametrize(
    ("method", "scopes", "allowed"),
    [
        ("tools/list", {"read"}, True),
        ("tools/list", {"write"}, False),
        ("tools/call", {"read"}, False),
        ("tools/call", {"write"}, True),
        ("subscriptions/listen", set[str](), False),
        ("server/discover", {"read"}, True),
        ("initialize", set[str](), True),
        ("ping", set[str](), True),
    ],
)
def test_scopes(method: str, scopes: set[str], allowed: bool) -> None:
    asked = request(Principal("key:1", scopes=frozenset(scopes)), method)
    admit = admission(limits()[0]).enter
    if allowed:
        admit(asked)
    else:
        with pytest.raises(InsufficientScope) as refused:
            admit(asked)
        assert refused.value.status == 403


@given(rpm=st.integers(1, 100_000), burst=st.integers(0, 1000), taken=st.integers(0, 20))
def test_the_fields_are_whole_and_true(rpm: int, burst: int, taken: int) -> None:
    limit = Limit(rpm, burst)
    bucket = Bucket.full(limit, 0)
    decision = [bucket.consume(limit, 0) for _ in range(taken + 1)][-1]
    fields = headers(decision)
    assert (
        fields["ratelimit-policy"] == f'"default";q={limit.capacity};w={math.ceil(limit.capacity / limit.per_second)}'
    )
    assert fields["ratelimit"] == f'"default";r={decision.remaining};t={math.ceil(decision.reset)}'
    assert header_lines(decision) == "".join(f"{name}: {value}\r\n" for name, value in fields.items())
