"""Requests in flight are waited for, and those that take too long are told so."""

from collections.abc import Callable

import anyio
import pytest

from gateway.call import Call
from gateway.errors import Stopping, Unauthenticated
from gateway.request import ANONYMOUS, Principal
from gateway.server.agents import ConnectedAgent
from gateway.server.drain import Drain

pytestmark = pytest.mark.anyio


class Work:
    """Requests that end when they are told to, and what became of each."""

    def __init__(self) -> None:
        self.drain = Drain()
        self.go_on = anyio.Event()
        self.ends: list[str] = []

    async def request(self, on_cancel: Callable[[], None] = lambda: None, principal: Principal = ANONYMOUS) -> None:
        agent = ConnectedAgent(principal, None, "2026-07-28", lasting=False)
        call = Call(1, "tools/call", {}, agent, agent.opener, lambda method, params: None)
        try:
            self.drain.enter(call)
            try:
                await self.go_on.wait()
            except anyio.get_cancelled_exc_class():
                on_cancel()
                if (reason := call.interruption()) is None:
                    raise
                raise reason from None
            finally:
                self.drain.leave(call)
            self.ends.append("answered")
        except Stopping:
            self.ends.append("stopping")
        except Unauthenticated:
            self.ends.append("revoked")


async def test_it_waits_for_the_last() -> None:
    work, drained = Work(), anyio.Event()

    async def drain() -> None:
        await work.drain.wait(60)
        drained.set()

    async with anyio.create_task_group() as tg:
        for _ in range(3):
            tg.start_soon(work.request)
        await anyio.wait_all_tasks_blocked()
        assert len(work.drain) == 3
        tg.start_soon(drain)
        await anyio.wait_all_tasks_blocked()
        assert not drained.is_set()
        work.go_on.set()
    assert work.ends == ["answered"] * 3
    assert len(work.drain) == 0


async def test_what_takes_too_long_is_called_off_and_answered() -> None:
    work, cancelled = Work(), anyio.Event()
    async with anyio.create_task_group() as tg:
        tg.start_soon(work.request, cancelled.set)
        await anyio.wait_all_tasks_blocked()
        await work.drain.wait(0)
        assert cancelled.is_set()
    assert work.ends == ["stopping"]


async def test_what_comes_later_has_no_longer() -> None:
    work = Work()
    await work.drain.wait(0.2)
    with anyio.fail_after(30):
        await work.request()
    assert work.ends == ["stopping"]


async def test_with_nothing_drain_there_is_nothing_to_wait_for() -> None:
    await Work().drain.wait(3600)


async def test_an_agent_that_leaves_is_owed_nothing() -> None:
    """Its own cancellation goes on as one, and is not taken for ours."""
    work = Work()
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as tg:
            tg.start_soon(work.request)
            await anyio.wait_all_tasks_blocked()
            scope.cancel()
    assert work.ends == []
    assert len(work.drain) == 0


async def test_what_a_revoked_credential_began_ends_with_it() -> None:
    work = Work()
    async with anyio.create_task_group() as tg:
        for principal in (Principal("key:a"), Principal("agent:1", root="key:a"), Principal("key:b")):
            tg.start_soon(work.request, lambda: None, principal)
        await anyio.wait_all_tasks_blocked()
        work.drain.end_those_of({"key:a"})
        await anyio.wait_all_tasks_blocked()
        assert work.ends == ["revoked", "revoked"]
        work.go_on.set()
    assert work.ends[2:] == ["answered"]
