"""What one upstream suffers, nobody else does, and nothing of it is left behind."""

import os
import signal
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from gateway.errors import UpstreamLost
from tests.faults.conftest import Keep
from tests.faults.proxy import proxy
from tests.support import wait_until
from tests.upstream.ends import DEADLINE, Got, Mcp, byte_server, fixture, service, supervised, text_of
from tests.upstream.test_upstream import BRISK, Kept

pytestmark = pytest.mark.anyio

RESTARTS = 20
HANGING = 50


async def never(got: Got) -> None: ...


async def test_calls_that_one_upstream_keeps_waiting_keep_nobody_else_waiting(keep: Keep) -> None:
    async with (
        byte_server(Mcp(service("modern"), on={"hang": never})) as one,
        byte_server(Mcp(service("modern"))) as two,
    ):
        slow, other = keep(one.url), keep(two.url)
        async with supervised(slow.upstream, other.upstream):
            await slow.upstream.settled.wait()
            await other.upstream.settled.wait()
            async with anyio.create_task_group() as hanging:
                for _ in range(HANGING):
                    hanging.start_soon(slow.call, "hang")
                await wait_until(lambda: slow.upstream.in_flight() == HANGING)
                for _ in range(100):
                    await other.call("a")
                assert slow.upstream.in_flight() == HANGING
                hanging.cancel_scope.cancel()


async def test_many_deaths_leave_neither_process_nor_descriptor(keep: Keep) -> None:
    kept = keep(fixture("bad"), timing=replace(BRISK, stable_seconds=0.0))  # each connection counts as a good one
    async with supervised(kept.upstream):
        await kept.upstream.settled.wait()
        pids = {await _die(kept)}
        await kept.call("ok")
        before = _held()
        for _ in range(RESTARTS):
            pids.add(await _die(kept))
        await kept.call("ok")
        assert len(pids) == RESTARTS + 1
        await wait_until(lambda: _held() == before, DEADLINE)


async def test_an_answer_that_breaks_off_fails_its_call_alone(keep: Keep) -> None:
    mcp = Mcp(service("modern"))
    async with byte_server(mcp) as server, proxy(server.url) as between:
        kept = keep(between.url)
        async with supervised(kept.upstream):
            await kept.upstream.settled.wait()
            await between.become("truncate", whole=100)
            with pytest.raises(UpstreamLost) as caught:
                await kept.call("a")
            assert caught.value.delivered
            assert mcp.methods().count("tools/call") == 1, "it was acted on"
            await between.become("none")
            assert text_of(await kept.call("a")) == "a"


async def test_a_connection_that_is_reset_does_not_say_whether_it_was_heard(keep: Keep) -> None:
    mcp = Mcp(service("modern"))
    async with byte_server(mcp) as server, proxy(server.url) as between:
        kept = keep(between.url)
        async with supervised(kept.upstream):
            await kept.upstream.settled.wait()
            await between.become("reset")
            with pytest.raises(UpstreamLost) as caught:
                await kept.call("a")
            assert caught.value.delivered, "we cannot know that it was not"
            await between.become("none")
            assert text_of(await kept.call("a")) == "a"
            assert mcp.methods().count("tools/call") == 1


async def _die(kept: Kept) -> int:
    """Kill it, wait for the next, and say who it was."""
    pid = await kept.pid()
    os.kill(pid, signal.SIGKILL)
    session = kept.upstream.links.main.session
    await wait_until(lambda: kept.upstream.links.main.session not in (None, session), DEADLINE)
    return pid


def _held() -> tuple[int, int]:
    """Descriptors that are open, and children, dead ones that nobody has waited for included."""
    children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()
    return len(os.listdir("/proc/self/fd")), len(children)
