"""An upstream that says nothing, or almost nothing: its calls end at their deadline, and soon nobody waits any more."""

from typing import Any

import anyio
import pytest

from gateway.call import Call
from gateway.errors import CircuitOpen, UpstreamTimeout
from gateway.pipeline import attempt
from gateway.upstream.breaker import BreakerState
from tests.faults.conftest import Keep, PassTime
from tests.faults.proxy import Fault, proxy
from tests.support import wait_until
from tests.upstream.ends import (
    DEADLINE,
    STREAM_HEAD,
    Got,
    Mcp,
    ask,
    byte_server,
    config,
    event,
    nobody,
    service,
    supervised,
    text_of,
)

pytestmark = pytest.mark.anyio

TIMEOUT = 0.3
FAILURES = 5


async def never(got: Got) -> None: ...


FAULTS: dict[Fault, float] = {"half-open": 0.0, "delay": 60.0, "drip": 0.05}
"""And the pause of each, in seconds."""


@pytest.mark.parametrize("fault", FAULTS)
async def test_calls_end_at_their_deadline_then_at_once_until_a_probe_is_answered(keep: Keep, fault: Fault) -> None:
    mcp = Mcp(service("modern"))
    async with byte_server(mcp) as server, proxy(server.url) as between:
        kept = keep(between.url, timeout=TIMEOUT, breaker={"cooldown": 0.5})
        async with supervised(kept.upstream):
            await kept.upstream.settled.wait()
            assert text_of(await kept.call("a")) == "a"
            await between.become(fault, pause=FAULTS[fault])
            for _ in range(FAILURES):
                with pytest.raises(UpstreamTimeout):
                    await kept.call("a")
            with pytest.raises(CircuitOpen):
                await kept.call("a")

            await between.become("none")
            await wait_until(lambda: kept.upstream.breaker.retry_after(anyio.current_time()) == 0)
            assert text_of(await kept.call("a")) == "a"
            assert kept.upstream.breaker.state is BreakerState.CLOSED


async def test_a_tool_may_have_a_deadline_of_its_own(keep: Keep) -> None:
    mcp = Mcp(service("modern"), on={"quick_one": never, "other": never, "resources/read": never})
    async with byte_server(mcp) as server:
        kept = keep(server.url, timeout=0.4, timeouts={"quick_*": 0.1})
        async with supervised(kept.upstream):
            await kept.upstream.settled.wait()
            for method, params, seconds in (
                ("tools/call", {"name": "quick_one"}, 0.1),
                ("tools/call", {"name": "other"}, 0.4),
                ("resources/read", {"uri": "quick_one", "name": "quick_one"}, 0.4),
            ):
                with pytest.raises(UpstreamTimeout) as caught:
                    await ask(kept.upstream, method, params)
                assert caught.value.data == {"upstream": "up", "timeout": seconds}


async def test_progress_does_not_last_beyond_the_cap(keep: Keep) -> None:
    async def go_on(got: Got) -> None:
        await got.send(STREAM_HEAD)
        params = {"progress": 1, "progressToken": got.json()["params"]["_meta"]["progressToken"]}
        while True:
            await got.send(event({"jsonrpc": "2.0", "method": "notifications/progress", "params": params}))
            await anyio.sleep(0.02)

    async with byte_server(Mcp(service("modern"), on={"long": go_on})) as server:
        kept = keep(server.url, timeout=0.2, max_timeout=0.5)
        async with supervised(kept.upstream):
            await kept.upstream.settled.wait()
            heard: list[str] = []

            def hear(method: str, params: dict[str, Any] | None) -> None:
                heard.append(method)

            with pytest.raises(UpstreamTimeout, match="raise `max_timeout`") as caught:
                await kept.call("long", hear=hear, progress=True)
            assert caught.value.data == {"upstream": "up", "timeout": 0.5}
            assert len(heard) > 5


async def test_waiting_for_ones_turn_is_part_of_the_deadline(keep: Keep, pass_time: PassTime) -> None:
    go_on = anyio.Event()

    async def hold(got: Got) -> None:
        await go_on.wait()
        await mcp.answer(got)

    mcp = Mcp(service("modern"), on={"hold": hold, "hang": never})
    async with byte_server(mcp) as server:
        kept = keep(server.url, timeout=DEADLINE, max_concurrency=1)
        async with supervised(kept.upstream) as tg:
            await kept.upstream.settled.wait()
            ended: list[UpstreamTimeout] = []

            async def hang() -> None:
                with pytest.raises(UpstreamTimeout) as caught:
                    await kept.call("hang")
                ended.append(caught.value)

            tg.start_soon(kept.call, "hold")
            await wait_until(lambda: kept.upstream.in_flight() == 1)
            tg.start_soon(hang)
            await anyio.wait_all_tasks_blocked()
            pass_time(0.6 * DEADLINE)
            go_on.set()
            await wait_until(lambda: mcp.methods().count("tools/call") == 2)
            pass_time(0.6 * DEADLINE)
            await wait_until(lambda: ended, 0.2 * DEADLINE)
            assert ended[0].data == {"upstream": "up", "timeout": DEADLINE}


async def test_calls_at_work_hold_places_when_these_become_limited(keep: Keep) -> None:
    go_on = anyio.Event()

    async def hold(got: Got) -> None:
        await go_on.wait()
        await mcp.answer(got)

    mcp = Mcp(service("modern"), on={"hold": hold})
    async with byte_server(mcp) as server:
        kept = keep(server.url, timeout=DEADLINE)
        upstream, ended = kept.upstream, list[Call]()

        async def work(tool: str) -> None:
            call = Call(1, "tools/call", {"name": tool}, nobody(), nobody().opener, lambda method, params: None)
            upstream.enter(call)
            try:
                await attempt(upstream, call, call.params)
            finally:
                upstream.leave(call)
            ended.append(call)

        async with supervised(upstream) as tg:
            await upstream.settled.wait()
            tg.start_soon(work, "hold")
            tg.start_soon(work, "hold")
            await wait_until(lambda: upstream.in_flight() == 2)
            upstream.adjust(config(server.url, timeout=DEADLINE, max_concurrency=2))
            tg.start_soon(work, "other")
            await anyio.wait_all_tasks_blocked()
            assert mcp.methods().count("tools/call") == 2, "its turn has not come"
            go_on.set()
            await wait_until(lambda: len(ended) == 3)
            upstream.adjust(config(server.url, timeout=DEADLINE, max_concurrency=1, max_queue=0))
            await work("last")
            assert upstream.health().queued == 0, "no place was lost"

            go_on = anyio.Event()
            upstream.adjust(config(server.url, timeout=DEADLINE, max_concurrency=1))
            tg.start_soon(work, "hold")
            await wait_until(lambda: upstream.in_flight() == 1)
            tg.start_soon(work, "other")
            await wait_until(lambda: upstream.health().queued == 1)
            upstream.adjust(config(server.url, timeout=DEADLINE))
            upstream.adjust(config(server.url, timeout=DEADLINE, max_concurrency=2))  # whose turn it is has not heard
            go_on.set()
            await wait_until(lambda: len(ended) == 6)
            upstream.adjust(config(server.url, timeout=DEADLINE, max_concurrency=1, max_queue=0))
            await work("last")
