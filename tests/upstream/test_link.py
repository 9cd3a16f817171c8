"""One supervised connection: the states a user sees, in order, and how it is lost, mended, rested and stopped."""

import os
import signal
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import anyio
import pytest

from gateway.errors import UpstreamLost, UpstreamUnavailable
from gateway.upstream.connect import Connector
from gateway.upstream.guardian import Guardian
from gateway.upstream.link import Link, State, Status
from gateway.upstream.session import Negotiated, UpstreamSession
from gateway.upstream.timing import UpstreamTiming
from gateway.upstream.transport.http import HttpDispatcher
from gateway.upstream.transport.pending import SessionLost
from gateway.upstream.transport.process import Program
from gateway.upstream.transport.sse import SseDispatcher
from gateway.upstream.transport.stderr import StderrLog
from tests.support import command, free_port, http_server, run_process, wait_until
from tests.upstream.ends import (
    DEADLINE,
    Ears,
    Got,
    Mcp,
    Script,
    byte_server,
    config,
    fixture,
    response,
    service,
    supervised,
)
from tests.upstream.test_negotiation import answering, initialized
from tests.upstream.test_sse import Legacy
from tests.upstream.test_upstream import BRISK

pytestmark = pytest.mark.anyio

S = State


class Held:
    """A link and what is seen of it."""

    def __init__(
        self,
        guardian: Guardian,
        program: Program | str,
        *,
        lazy: bool = False,
        serve: Any = None,
        timing: UpstreamTiming = BRISK,
        **settings: Any,
    ) -> None:
        self.statuses: list[Status] = []
        self.ears = Ears()
        self.agreed: list[Negotiated] = []
        connector = Connector(
            "up",
            config(program, **settings),
            capabilities=dict,
            peer=self.ears,
            stderr=lambda: StderrLog(lambda line, suppressed: None, float),
            guardian=guardian,
            timing=timing,
        )
        self.link = Link(connector, serve or self._serve, self.statuses.append, lazy=lazy, timing=timing)

    async def _serve(self, session: UpstreamSession, agreed: Negotiated) -> None:
        self.agreed.append(agreed)

    @property
    def states(self) -> list[State]:
        return [status.state for status in self.statuses]

    async def reach(self, *states: State) -> None:
        """Wait until these were the last states."""
        await wait_until(lambda: self.states[-len(states) :] == [*states], DEADLINE)

    async def tool(self, name: str) -> dict[str, Any]:
        session = await self.link.ready(DEADLINE)
        return await session.request("tools/call", {"name": name}, {"timeout": DEADLINE})

    async def pid(self) -> int:
        return (await self.tool("pid"))["structuredContent"]["pid"]


Hold = Callable[..., Held]


@pytest.fixture
def hold(guardian: Guardian) -> Hold:
    return partial(Held, guardian)


# --- States --------------------------------------------------------------------------------------------------------


async def test_a_life(hold: Hold) -> None:
    held = hold(fixture("bad"))
    assert held.link.status == Status(S.STOPPED)
    async with supervised(held.link):
        await held.reach(S.STARTING, S.READY)
        os.kill(await held.pid(), signal.SIGKILL)
        await held.reach(S.BACKING_OFF, S.STARTING, S.READY)
        lost = held.statuses[2]
        assert lost.reason == "it went away before it answered: it was ended by SIGKILL"
        assert lost.next_try is not None
        held.link.degrade("tools/list failed")
        held.link.degrade("")
    assert held.states == [S.STARTING, S.READY, S.BACKING_OFF, S.STARTING, S.READY, S.DEGRADED, S.READY, S.STOPPED]
    assert held.link.session is None


NEVER: dict[str, tuple[Program | str, str]] = {
    "no program": (Program("no-such-program-a83f"), "'no-such-program-a83f' is not an executable on PATH"),
    "leaves": (Program(sys.executable, ["-c", "raise SystemExit(3)"]), "it exited with status 3"),
    "nobody there": (f"http://127.0.0.1:{free_port()}/", "cannot connect to 127.0.0.1"),
    "no MCP": (answering(initialize=initialized("1999-01-01")), "protocol version '1999-01-01'"),
    "refused": (answering(initialize={"error": {"code": -1, "message": "the database is down"}}), "database is down"),
}


@pytest.mark.parametrize("kind", NEVER)
async def test_one_that_never_comes_up(hold: Hold, kind: str) -> None:
    program, reason = NEVER[kind]
    held = hold(program)
    async with supervised(held.link):
        await held.reach(S.STARTING, S.BACKING_OFF, S.STARTING, S.BACKING_OFF)
        assert held.states.count(S.READY) == 0
        assert reason in held.link.status.reason
        assert "Upstream" not in held.link.status.reason


async def test_attempts_become_rarer(hold: Hold) -> None:
    held = hold(Program("no-such-program"))
    async with supervised(held.link):
        await wait_until(lambda: held.states.count(S.BACKING_OFF) == 5)
        tries = [failed.next_try or 0.0 for failed in held.statuses if failed.state is S.BACKING_OFF]
        assert tries[4] - tries[3] >= 0.02 * 2**4 / 2


async def test_a_bug_in_what_serves_it_is_survived(hold: Hold) -> None:
    served: list[UpstreamSession] = []

    async def serve(session: UpstreamSession, agreed: Negotiated) -> None:
        served.append(session)
        if len(served) == 1:
            raise LookupError("a bug of ours")

    held = hold(fixture("bad"), serve=serve)
    async with supervised(held.link):
        await wait_until(lambda: len(served) == 2)
        assert held.statuses[2].reason == "LookupError: a bug of ours"
        assert (await held.tool("ok"))["content"]


# --- Waiting for it ------------------------------------------------------------------------------------------------


async def test_who_comes_early_waits(hold: Hold) -> None:
    held = hold(fixture("bad", "--slow-start", "0.2"))
    async with supervised(held.link):
        assert await held.tool("ok")


async def test_patience_ends(hold: Hold) -> None:
    held = hold(fixture("bad", "--on", "server/discover=silent"))
    async with supervised(held.link):
        with pytest.raises(UpstreamUnavailable, match="'up' is starting") as caught:
            await held.link.ready(0.05)
        assert caught.value.data == {"upstream": "up", "state": "starting", "delivered": False}


async def test_nobody_waits_for_an_attempt_far_off(hold: Hold) -> None:
    held = hold(Program("no-such-program"), timing=UpstreamTiming(backoff_base_seconds=60.0))
    async with supervised(held.link):
        await held.reach(S.BACKING_OFF)
        with anyio.fail_after(DEADLINE), pytest.raises(UpstreamUnavailable) as caught:
            await held.link.ready(1000)
        assert "Upstream 'up' is backing off: 'no-such-program' is not an executable" in caught.value.message
        assert caught.value.data is not None
        assert 29 < caught.value.data["retryAfter"] <= 60


async def test_it_can_be_woken(hold: Hold) -> None:
    held = hold(Program("no-such-program"), timing=UpstreamTiming(backoff_base_seconds=60.0))
    async with supervised(held.link):
        await held.reach(S.STARTING, S.BACKING_OFF)
        held.link.wake()
        await held.reach(S.STARTING, S.BACKING_OFF, S.STARTING, S.BACKING_OFF)


async def test_an_attempt_that_is_due_is_worth_waiting_for(hold: Hold) -> None:
    held = hold(fixture("bad"))
    async with supervised(held.link):
        os.kill(await held.pid(), signal.SIGKILL)
        await held.reach(S.BACKING_OFF)
        assert await held.tool("ok")


# --- Rest and stop -------------------------------------------------------------------------------------------------


async def test_a_lazy_one_waits_to_be_needed(hold: Hold) -> None:
    held = hold(fixture("bad"), lazy=True)
    async with supervised(held.link):
        await anyio.wait_all_tasks_blocked()
        assert held.link.status == Status(S.STOPPED, "it starts with the first call")
        assert not held.link.called
        assert await held.tool("ok")
        assert held.link.called
        assert held.states == [S.STARTING, S.READY]


async def test_rest_is_no_failure(hold: Hold) -> None:
    held = hold(fixture("bad"))
    async with supervised(held.link):
        await held.reach(S.READY)
        held.link.rest("nobody needs it")
        assert await held.tool("ok")  # somebody does, in the same moment
        held.link.rest("nobody needs it")
        await held.reach(S.STOPPED)
        assert await held.tool("ok")
        assert S.BACKING_OFF not in held.states


async def test_what_is_in_flight_when_it_rests_must_not_be_repeated(hold: Hold) -> None:
    held = hold(fixture("bad"))
    async with supervised(held.link) as tg:
        session = await held.link.ready(DEADLINE)

        async def rest() -> None:
            await wait_until(lambda: session.connection.pending)
            held.link.rest("nobody needs it")

        tg.start_soon(rest)
        with pytest.raises(UpstreamLost) as caught:
            await session.request("tools/call", {"name": "silent"}, {"timeout": DEADLINE})
        assert caught.value.delivered


async def test_stopping_ends_it_for_good(hold: Hold) -> None:
    async with byte_server(Mcp(service("handshake"))) as server:
        held = hold(server.url)
        async with anyio.create_task_group() as tg:
            tg.start_soon(held.link.run)
            await held.reach(S.READY)
            held.link.stop()
        assert held.states[-1] is S.STOPPED
        assert server.got[-1].method == "DELETE"
        await wait_until(lambda: server.open == 0)


async def test_one_that_is_stopped_before_it_began(hold: Hold) -> None:
    held = hold(fixture("bad"))
    held.link.stop()
    with anyio.fail_after(DEADLINE):
        await held.link.run()
    assert S.READY not in held.states


# --- A lost session ------------------------------------------------------------------------------------------------


async def test_a_lost_session_is_opened_anew_at_once(hold: Hold) -> None:
    mcp = Mcp(service("handshake"))
    async with byte_server(mcp) as server:
        held = hold(server.url)
        async with supervised(held.link):
            await held.reach(S.READY)
            mcp.session += 1  # the server forgets
            with pytest.raises(SessionLost):
                await held.tool("a")
            assert await held.tool("a")
            assert held.states == [S.STARTING, S.READY, S.STARTING, S.READY]


async def test_sessions_lost_one_after_the_other_are_not(hold: Hold) -> None:
    async def forget(got: Got) -> None:
        await got.send(response(status="404 Not Found"))

    async with byte_server(Mcp(service("handshake"), on={"x": forget})) as server:
        held = hold(server.url)
        async with supervised(held.link):
            for _ in range(2):
                with pytest.raises(SessionLost):
                    await held.tool("x")
            await held.reach(S.BACKING_OFF, S.STARTING, S.READY)
            assert held.states[:4] == [S.STARTING, S.READY, S.STARTING, S.READY]


# --- Eras and transports -------------------------------------------------------------------------------------------


async def test_the_probe_is_left_out_for_those_it_scares_away(hold: Hold) -> None:
    held = hold(answering(server_discover=None, initialize=initialized()))
    async with supervised(held.link):
        for connections in (1, 2):
            await wait_until(lambda: len(held.agreed) == connections, DEADLINE)  # noqa: B023
            assert held.states[-3:] == [S.BACKING_OFF, S.STARTING, S.READY]
            held.link.drop(UpstreamLost("up", "test"))
        await wait_until(lambda: len(held.agreed) == 3)
        assert held.states[-4:] == [S.READY, S.BACKING_OFF, S.STARTING, S.READY]  # at the first attempt


async def test_the_probe_is_left_out_for_those_that_said_no(hold: Hold) -> None:
    mcp = Mcp(service("handshake"))
    async with byte_server(mcp) as server:
        held = hold(server.url)
        async with supervised(held.link):
            await wait_until(lambda: len(held.agreed) == 1)
            held.link.drop(UpstreamLost("up", "test"))
            await wait_until(lambda: len(held.agreed) == 2)
        assert [m["method"] for m in mcp.heard].count("server/discover") == 1


async def test_a_server_that_was_not_there_yet_is_probed_all_the_same(hold: Hold) -> None:
    port = free_port()
    held = hold(f"http://127.0.0.1:{port}/mcp")
    async with supervised(held.link):
        await held.reach(S.BACKING_OFF)
        with run_process(command("tests.servers.raw", "--transport", "http", "--port", str(port))):
            await wait_until(lambda: held.agreed, DEADLINE)
            assert held.agreed[0].version == "2026-07-28"


async def test_a_program_that_failed_once_is_probed_again(hold: Hold, tmp_path: Any) -> None:
    program = fixture("raw")
    mark = str(tmp_path / "mark")
    fail_once = f"import os, sys\nif not os.path.exists({mark!r}): open({mark!r}, 'w'); sys.exit(1)\n"
    script = f"{fail_once}os.execv({program.command!r}, {[program.command, *program.args]!r})"
    held = hold(Program(sys.executable, ["-c", script], cwd=program.cwd))
    async with supervised(held.link):
        await held.reach(S.BACKING_OFF, S.STARTING, S.READY)
        await wait_until(lambda: len(held.agreed) == 1)
        held.link.drop(UpstreamLost("up", "test"))
        await wait_until(lambda: len(held.agreed) == 2)
        assert held.agreed[1].version == "2026-07-28"


@pytest.mark.parametrize("status", ["404", "405"])
async def test_a_server_that_knows_the_older_transport_alone(hold: Hold, status: str) -> None:
    with http_server("tests.servers.bad", "--post", status) as url:
        held = hold(url)
        async with supervised(held.link):
            assert await held.tool("ok")
            assert held.link.session is not None
            assert isinstance(held.link.session.connection, SseDispatcher)
            held.link.drop(UpstreamLost("up", "test"))
            await held.reach(S.READY, S.BACKING_OFF, S.STARTING, S.READY)
            assert isinstance(held.link.session.connection, SseDispatcher)


async def test_one_that_was_replaced_by_a_newer_is_found_out(hold: Hold) -> None:
    old, new = Legacy(), Mcp(service("modern"))
    knows: list[Script] = [new]

    async def script(got: Got) -> None:
        if len(knows) == 1:
            await knows[0](got)
        elif got.method == "POST" and got.target == "/mcp":
            await got.send(response(status="405 Method Not Allowed"))
        else:
            await old(got)

    knows.append(old)
    async with byte_server(script) as server:
        held = hold(server.url)
        async with supervised(held.link):
            await held.reach(S.READY)
            knows.pop()
            assert old.stream is not None
            await old.stream.drop()
            await wait_until(
                lambda: held.link.session is not None and isinstance(held.link.session.connection, HttpDispatcher)
            )


REFUSALS: dict[str, tuple[str, dict[str, Any], str]] = {
    "neither": ("404 Not Found", {}, "HTTP status 404"),
    "not asked to": ("405 No", {"fallback_sse": False}, "HTTP status 405"),
    "credentials": ("401 Unauthorized", {}, "HTTP status 401: check the credentials in its `headers`"),
}


@pytest.mark.parametrize("kind", REFUSALS)
async def test_when_no_transport_works_the_newer_ones_reason_is_told(hold: Hold, kind: str) -> None:
    status, settings, reason = REFUSALS[kind]

    async def refuse(got: Got) -> None:
        await got.send(response(status=status if got.method == "POST" else "418 Teapot"))

    async with byte_server(refuse) as server:
        held = hold(server.url, **settings)
        async with supervised(held.link):
            await held.reach(S.BACKING_OFF)
            assert reason in held.link.status.reason
            assert any(got.method == "GET" for got in server.got) == (kind == "neither")
