"""One tenant at an upstream takes it from nobody else: neither by what fails, nor by what takes long."""

from functools import partial
from typing import Any

import anyio
import pytest

from gateway.errors import GatewayError
from gateway.upstream.breaker import BreakerState
from tests.faults.conftest import Keep
from tests.upstream.ends import Got, Mcp, byte_server, fixture, service, supervised, text_of
from tests.upstream.test_isolation import agent
from tests.upstream.test_upstream import Kept

pytestmark = pytest.mark.anyio

MALLORY, BOB = agent("mallory"), agent("bob")


async def never(got: Got) -> None: ...


async def drop(got: Got) -> None:
    await got.drop()


async def outcome(kept: Kept, tool: str, **options: Any) -> str:
    try:
        return text_of(await kept.call(tool, **options))
    except GatewayError as error:
        return type(error).__name__


@pytest.mark.parametrize(("tool", "failure"), [("hang", "UpstreamTimeout"), ("drop", "UpstreamLost")])
async def test_what_fails_for_one_is_not_refused_to_another(keep: Keep, tool: str, failure: str) -> None:
    mcp = Mcp(service("modern"), on={"hang": never, "drop": drop})
    async with byte_server(mcp) as server:
        kept = keep(server.url, timeout=0.1, breaker={"failures": 2, "cooldown": 0.01})
        async with supervised(kept.upstream):
            await kept.upstream.settled.wait()
            assert [await outcome(kept, tool, agent=MALLORY) for _ in range(2)] == [failure] * 2
            # On a busy machine the next comes after the cooldown, and is the probe.
            assert "CircuitOpen" in [await outcome(kept, tool, agent=MALLORY) for _ in range(20)]
            assert await outcome(kept, "a", agent=BOB) == "a"
            assert kept.upstream.breaker.state is BreakerState.CLOSED
            for _ in range(3):  # mallory is the probe again and again
                with anyio.move_on_after(0.02):
                    await outcome(kept, tool, agent=MALLORY)
                assert await outcome(kept, "a", agent=BOB) == "a"


async def test_what_fails_for_two_is_the_upstreams(keep: Keep) -> None:
    async with byte_server(Mcp(service("modern"), on={"drop": drop})) as server:
        kept = keep(server.url, breaker={"failures": 4, "cooldown": "1h"})
        async with supervised(kept.upstream):
            await kept.upstream.settled.wait()
            for one in (MALLORY, BOB):
                assert [await outcome(kept, "drop", agent=one) for _ in range(2)] == ["UpstreamLost"] * 2
            assert await outcome(kept, "a", agent=agent("eve")) == "CircuitOpen"
            assert kept.upstream.breaker.state is BreakerState.OPEN


async def test_a_program_that_dies_fails_for_all(keep: Keep) -> None:
    kept = keep(fixture("bad"), breaker={"failures": 1, "cooldown": "1h"})
    async with supervised(kept.upstream):
        await kept.upstream.settled.wait()
        await outcome(kept, "kill", agent=MALLORY)
        assert kept.upstream.breaker.state is BreakerState.OPEN


async def test_slow_calls_of_one_leave_places_for_another(keep: Keep) -> None:
    ask, asked = anyio.create_memory_object_stream[None](300)

    async def hang(got: Got) -> None:
        ask.send_nowait(None)

    async with byte_server(Mcp(service("modern"), on={"hang": hang})) as server, ask, asked:
        limits: list[tuple[dict[str, Any], int]] = [({}, 192), ({"max_concurrency": 4, "max_queue": 8}, 3)]
        for settings, working in limits:
            kept = keep(server.url, timeout=60, **settings)
            async with supervised(kept.upstream) as tg:
                await kept.upstream.settled.wait()

                for _ in range(300):
                    tg.start_soon(partial(outcome, kept, "hang", agent=MALLORY))
                for _ in range(working):
                    await asked.receive()
                await anyio.wait_all_tasks_blocked()
                assert asked.statistics().current_buffer_used == 0, "the others wait"
                for name in ("bob", "eve"):
                    assert await outcome(kept, "a", agent=agent(name)) == "a"


async def test_connections_of_their_own_are_shared_fairly(keep: Keep) -> None:
    async with byte_server(Mcp(service("handshake"))) as server:
        kept = keep(server.url, isolation="session", max_sessions=8)
        async with supervised(kept.upstream):
            await kept.upstream.settled.wait()
            many = [agent("mallory") for _ in range(8)]
            outcomes = [await outcome(kept, "a", agent=one) for one in many]
            assert outcomes == ["a"] * 6 + ["UpstreamUnavailable"] * 2
            assert [await outcome(kept, "a", agent=one) for one in (BOB, agent("eve"))] == ["a", "a"]
            kept.upstream.release(many[0].id)
            kept.upstream.release(many[1].id)
            assert await outcome(kept, "a", agent=agent("bob")) == "a"
