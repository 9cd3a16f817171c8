"""One upstream as the rest of the house sees it: what it offers while it comes and goes, and what becomes of calls."""

import os
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest

from gateway.errors import GatewayError, UpstreamError, UpstreamLost, UpstreamUnavailable
from gateway.upstream.guardian import Guardian
from gateway.upstream.link import State
from gateway.upstream.listing import Listing
from gateway.upstream.timing import UpstreamTiming
from gateway.upstream.transport.http import HttpDispatcher
from gateway.upstream.transport.process import Program
from gateway.upstream.upstream import Upstream
from tests.servers.bad_replies import MISREPLIES
from tests.support import wait_until
from tests.upstream.ends import (
    DEADLINE,
    Got,
    Hears,
    Mcp,
    ask,
    byte_server,
    config,
    fixture,
    response,
    service,
    supervised,
    text_of,
)

pytestmark = pytest.mark.anyio

TOOLS = list(MISREPLIES)
KNOWN = Listing(tools=({"name": "known", "inputSchema": {"type": "object"}},))


BRISK = UpstreamTiming(backoff_base_seconds=0.02, exit_seconds=0.2)
"""Waits that a test can wait for."""


class Kept:
    """An upstream and what is heard of it."""

    def __init__(
        self,
        guardian: Guardian,
        program: Program | str,
        known: Listing | None = None,
        *,
        timing: UpstreamTiming = BRISK,
        **settings: Any,
    ) -> None:
        self.hears = Hears()
        settings = {"timeout": DEADLINE, **settings}
        self.upstream = Upstream("up", config(program, **settings), self.hears, guardian, known, timing=timing)

    async def call(self, tool: str, **options: Any) -> dict[str, Any]:
        return await ask(self.upstream, "tools/call", {"name": tool}, **options)

    async def pid(self) -> int:
        return (await self.call("pid"))["structuredContent"]["pid"]

    async def reach(self, state: State) -> None:
        await wait_until(lambda: self.upstream.status.state is state, DEADLINE)

    async def kill(self) -> None:
        os.kill(await self.pid(), signal.SIGKILL)


Keep = Callable[..., Kept]


@pytest.fixture
def keep(guardian: Guardian) -> Keep:
    return partial(Kept, guardian)


# --- What it offers ------------------------------------------------------------------------------------------------


async def test_it_comes_up(keep: Keep) -> None:
    kept = keep(fixture("bad"))
    assert kept.upstream.listing is None
    assert not kept.upstream.settled.is_set()
    async with supervised(kept.upstream):
        await kept.upstream.settled.wait()
        assert kept.hears.tools == TOOLS
        assert len(kept.hears.listings) == 1
        assert kept.upstream.agreed is not None
        assert kept.upstream.listing is not None
        assert kept.upstream.listing.version == kept.upstream.agreed.version == "2026-07-28"


async def test_one_that_never_comes_up_is_settled_too(keep: Keep) -> None:
    kept = keep(Program("no-such-program"))
    async with supervised(kept.upstream):
        await kept.upstream.settled.wait()
        assert kept.upstream.listing is None
        assert kept.hears.listings == []


@pytest.mark.parametrize(
    "bad",
    [
        fixture("bad", "--on", "server/discover=silent"),
        fixture("bad", "--on", "tools/list=silent"),
        fixture("bad", "--on", "tools/list=huge"),
        fixture("bad", "--slow-start", "60"),
        Program("no-such-program"),
        "http://127.0.0.1:9/",
    ],
    ids=["opening", "listing", "flood", "start", "no program", "no server"],
)
async def test_nothing_one_upstream_does_delays_another(keep: Keep, bad: Program | str) -> None:
    hindered, other = keep(bad), keep(fixture("bad"))
    async with supervised(hindered.upstream, other.upstream):
        await other.upstream.settled.wait()
        assert text_of(await other.call("ok")) == "ok"
        assert hindered.upstream.listing is None


async def test_a_lost_one_is_shown_for_a_while_and_comes_back_whole(keep: Keep, tmp_path: Path) -> None:
    program, broken = fixture("bad"), tmp_path / "broken"
    script = f"import os\nif not os.path.exists({str(broken)!r}): os.execv({program.command!r}, "
    script += f"{[program.command, *program.args]!r})"
    kept = keep(Program(program.command, ["-c", script], cwd=program.cwd), grace=0.1)
    async with supervised(kept.upstream):
        await kept.upstream.settled.wait()
        broken.touch()
        await kept.kill()
        await kept.reach(State.BACKING_OFF)
        assert kept.upstream.listing is not None
        assert len(kept.hears.listings) == 1
        await wait_until(lambda: len(kept.hears.listings) == 2)
        assert kept.hears.listings[-1] is kept.upstream.listing is None
        assert kept.upstream.known is not None
        broken.unlink()
        kept.upstream.wake()
        await wait_until(lambda: len(kept.hears.listings) == 3)
        assert kept.hears.tools == TOOLS


async def test_one_that_is_back_in_time_is_never_missed(keep: Keep) -> None:
    kept = keep(fixture("bad"), grace=0.5)
    async with supervised(kept.upstream):
        await kept.upstream.settled.wait()
        first = await kept.pid()
        await kept.kill()
        await kept.reach(State.BACKING_OFF)
        await kept.reach(State.READY)
        assert await kept.pid() != first
        await anyio.sleep(0.6)
        assert len(kept.hears.listings) == 1


async def test_no_grace_at_all(keep: Keep) -> None:
    kept = keep(fixture("bad"), grace=0)
    async with supervised(kept.upstream):
        await kept.upstream.settled.wait()
        await kept.kill()
        await wait_until(lambda: len(kept.hears.listings) == 3)
        assert [listing is None for listing in kept.hears.listings] == [False, True, False]


# --- Lazy ----------------------------------------------------------------------------------------------------------


async def test_a_lazy_one_that_is_known_starts_with_the_first_call(keep: Keep) -> None:
    kept = keep(fixture("bad"), KNOWN, lazy=True)
    async with supervised(kept.upstream):
        assert kept.upstream.settled.is_set()
        assert kept.upstream.listing is KNOWN
        await anyio.wait_all_tasks_blocked()
        assert kept.upstream.status.state is State.STOPPED
        assert text_of(await kept.call("ok")) == "ok"
        await wait_until(lambda: kept.hears.tools == TOOLS)
        assert kept.upstream.status.state is State.READY


async def test_a_lazy_one_that_is_unknown_is_asked_once(keep: Keep) -> None:
    kept = keep(fixture("bad"), lazy=True)
    async with supervised(kept.upstream):
        await kept.upstream.settled.wait()
        await kept.reach(State.STOPPED)
        assert kept.upstream.listing is not None
        assert kept.hears.tools == TOOLS
        assert text_of(await kept.call("ok")) == "ok"
        await anyio.wait_all_tasks_blocked()
        assert kept.upstream.status.state is State.READY


async def test_a_lazy_one_that_is_needed_while_it_is_asked_stays(keep: Keep) -> None:
    called: list[str] = []

    async def list_tools(got: Got) -> None:
        if not called:
            called.append(text_of(await kept.call("a")))
        await mcp.answer(got)

    mcp = Mcp(service("modern"), on={"tools/list": list_tools})
    async with byte_server(mcp) as server:
        kept = keep(server.url, lazy=True)
        async with supervised(kept.upstream):
            await kept.upstream.settled.wait()
            await anyio.wait_all_tasks_blocked()
            assert called == ["a"]
            assert kept.upstream.status.state is State.READY
            assert mcp.methods().count("tools/call") == 1


async def test_a_lazy_one_that_could_not_say_what_it_offers_stays_until_it_has(keep: Keep) -> None:
    async def refuse(got: Got) -> None:
        await got.send(response(status="500 Oops"))

    async with byte_server(Mcp(service("modern"), on={"tools/list": refuse})) as server:
        kept = keep(server.url, lazy=True)
        async with supervised(kept.upstream):
            await kept.upstream.settled.wait()
            await anyio.wait_all_tasks_blocked()
            assert kept.upstream.status.state is State.DEGRADED
            assert "HTTP status 500" in kept.upstream.status.reason


async def test_one_that_is_not_lazy_starts_even_if_it_is_known(keep: Keep) -> None:
    kept = keep(fixture("bad"), KNOWN)
    async with supervised(kept.upstream):
        assert kept.upstream.listing is KNOWN
        await wait_until(lambda: kept.hears.tools == TOOLS, DEADLINE)


# --- Calls ---------------------------------------------------------------------------------------------------------


async def test_a_call_in_flight_when_the_child_dies_is_not_repeated(keep: Keep) -> None:
    kept = keep(fixture("bad"))
    async with supervised(kept.upstream):
        with pytest.raises(UpstreamLost, match="SIGKILL") as caught:
            await kept.call("kill")
        assert caught.value.data == {"upstream": "up", "delivered": "unknown"}
        assert text_of(await kept.call("ok")) == "ok"


async def test_a_call_on_a_lost_session_is_repeated_once_and_nobody_notices(keep: Keep) -> None:
    mcp = Mcp(service("handshake"))
    async with byte_server(mcp) as server:
        kept = keep(server.url)
        async with supervised(kept.upstream):
            await kept.upstream.settled.wait()
            mcp.session += 1  # the server forgets
            assert text_of(await kept.call("a")) == "a"
            assert mcp.methods().count("tools/call") == 2
            assert kept.upstream.status.state is State.READY


async def test_it_is_not_repeated_twice(keep: Keep) -> None:
    async def forget(got: Got) -> None:
        await got.send(response(status="404 Not Found"))

    mcp = Mcp(service("handshake"), on={"x": forget})
    async with byte_server(mcp) as server:
        kept = keep(server.url)
        async with supervised(kept.upstream):
            with pytest.raises(UpstreamLost, match="no longer knows this session"):
                await kept.call("x")
            assert mcp.methods().count("tools/call") == 2


async def test_others_in_flight_when_the_session_is_lost_are_not_repeated(keep: Keep) -> None:
    async def never(got: Got) -> None: ...

    mcp = Mcp(service("handshake"), on={"slow": never})
    async with byte_server(mcp) as server:
        kept = keep(server.url)
        async with supervised(kept.upstream) as tg:
            await kept.upstream.settled.wait()
            outcome: list[GatewayError] = []

            async def slow() -> None:
                try:
                    await kept.call("slow")
                except GatewayError as error:
                    outcome.append(error)

            tg.start_soon(slow)
            await wait_until(lambda: kept.upstream.in_flight() == 1)
            mcp.session += 1
            assert text_of(await kept.call("a")) == "a"
            await wait_until(lambda: len(outcome) == 1)
            names = [m["params"]["name"] for m in mcp.heard if m.get("method") == "tools/call"]
            assert sorted(names) == ["a", "a", "slow"]


async def test_a_server_that_restarted_is_found_out_by_the_next_call(keep: Keep) -> None:
    mcp = Mcp(service("modern"))
    async with byte_server(mcp) as server:
        kept = keep(server.url)
        async with anyio.create_task_group() as tg:
            tg.start_soon(kept.upstream.run)
            await kept.upstream.settled.wait()
            session = kept.upstream.links.main.session
            assert session is not None
            assert isinstance(session.connection, HttpDispatcher)
            idle = session.connection.pool._idle  # pyright: ignore[reportPrivateUsage]
            await server.close()
            await wait_until(lambda: not any(wire.usable for wire in idle))
            with pytest.raises((UpstreamLost, UpstreamUnavailable)) as caught:
                await kept.call("a")
            assert caught.value.data is not None
            assert caught.value.data["delivered"] is False
            await kept.reach(State.BACKING_OFF)
            tg.cancel_scope.cancel()


async def test_calls_of_one_that_is_away_fail_at_once_and_say_why(keep: Keep) -> None:
    kept = keep(Program("no-such-program"), timing=UpstreamTiming(backoff_base_seconds=60.0))
    async with supervised(kept.upstream):
        await kept.upstream.settled.wait()
        with pytest.raises(UpstreamUnavailable, match="'up' is backing off: 'no-such-program' is not an executable"):
            await kept.call("a")


async def test_the_upstreams_own_errors_are_passed_on(keep: Keep) -> None:
    kept = keep(fixture("raw"))
    async with supervised(kept.upstream):
        with pytest.raises(UpstreamError) as caught:
            await kept.call("refuse")
        assert caught.value.code == -32050


async def test_noise_is_logged_in_bounded_amounts(keep: Keep, capsys: pytest.CaptureFixture[str]) -> None:
    kept = keep(fixture("bad"))
    for number in range(10_000):
        kept.upstream.on_noise(f"noise {number}\x1b[31m")
    out = "".join(capsys.readouterr())
    assert 200 <= out.count("noise ") < 1000
    assert "\x1b[31m" not in out.replace("\x1b[0m", "").split("noise 0")[1][:10]
