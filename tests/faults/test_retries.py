"""What is sent once more, and what never is, counted at the upstream."""

import os
import signal
from collections.abc import Callable
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from gateway.errors import GatewayError, UpstreamLost, UpstreamTimeout, UpstreamUnavailable
from gateway.upstream import retry
from gateway.upstream.transport.pending import SessionLost
from gateway.upstream.transport.process import Program
from tests.faults.conftest import Keep, PassTime
from tests.faults.proxy import proxy
from tests.support import ROOT, command, wait_until
from tests.upstream.ends import (
    DEADLINE,
    STREAM_HEAD,
    Got,
    Mcp,
    Script,
    ask,
    byte_server,
    event,
    response,
    service,
    supervised,
    text_of,
)
from tests.upstream.test_upstream import Kept

pytestmark = pytest.mark.anyio

READ_ONLY = {"name": "look", "inputSchema": {"type": "object"}, "annotations": {"readOnlyHint": True}}


def notes(**scripts: Script) -> Mcp:
    """A server with a tool that does nothing but look, and a note to read."""
    methods: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
        "tools/list": lambda params: {"tools": [READ_ONLY, {"name": "work", "inputSchema": {"type": "object"}}]},
        "resources/read": lambda params: {"contents": [{"uri": params["uri"], "text": "a note"}]},
    }
    return Mcp(service("modern", **methods), on=dict(scripts))


def once(script: Script, mcp: Callable[[], Mcp]) -> Script:
    """Do that to the first request, and answer the others."""
    done: list[Got] = []

    async def first(got: Got) -> None:
        done.append(got)
        await (script(got) if len(done) == 1 else mcp().answer(got))

    return first


async def drop(got: Got) -> None:
    await got.drop()


async def busy(got: Got) -> None:
    await got.send(response(status="503 Busy"))


def wait(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Have every retry wait for so long."""

    def delay(attempt: int, chance: float) -> float:
        return seconds

    monkeypatch.setattr(retry, "delay", delay)


async def read(kept: Kept, **options: Any) -> str:
    result = await ask(kept.upstream, "resources/read", {"uri": "note:1"}, **options)
    return result["contents"][0]["text"]


@pytest.mark.parametrize("fault", [drop, busy], ids=["lost", "503"])
async def test_what_has_no_effect_is_repeated(keep: Keep, fault: Script) -> None:
    mcp = notes()
    mcp.on["resources/read"] = once(fault, lambda: mcp)
    async with byte_server(mcp) as server:
        kept = keep(server.url)
        async with supervised(kept.upstream):
            await kept.upstream.settled.wait()
            assert await read(kept) == "a note"
            assert mcp.methods().count("resources/read") == 2
            assert kept.upstream.health().retries == 1


@pytest.mark.parametrize(
    ("tool", "trusted", "sent"), [("look", True, 2), ("look", False, 1), ("work", True, 1), ("work", False, 1)]
)
async def test_a_tool_only_if_it_says_so_and_is_believed(keep: Keep, tool: str, trusted: bool, sent: int) -> None:
    mcp = notes()
    mcp.on[tool] = once(drop, lambda: mcp)
    async with byte_server(mcp) as server:
        kept = keep(server.url, trust_annotations=trusted)
        async with supervised(kept.upstream):
            await kept.upstream.settled.wait()
            if sent == 2:
                assert text_of(await kept.call(tool)) == tool
            else:
                with pytest.raises(UpstreamLost) as caught:
                    await kept.call(tool)
                assert caught.value.data == {"upstream": "up", "delivered": "unknown"}
            assert mcp.methods().count("tools/call") == sent


async def test_what_never_reached_it_is_repeated_whatever_it_is(keep: Keep, monkeypatch: pytest.MonkeyPatch) -> None:
    wait(monkeypatch, 0.3)
    mcp = notes()
    async with byte_server(mcp) as server, proxy(server.url) as between:
        kept = keep(between.url)
        async with supervised(kept.upstream) as tg:
            await kept.upstream.settled.wait()
            await between.become("refuse")
            done: list[str] = []

            async def work() -> None:
                done.append(text_of(await kept.call("work")))

            tg.start_soon(work)
            await wait_until(
                lambda: kept.upstream.health().retries > 0 or "backing off" in kept.upstream.health().state
            )
            await between.become("none")
            await wait_until(lambda: done, DEADLINE)
            assert mcp.methods().count("tools/call") == 1


@pytest.mark.parametrize("says", ["progress", "message"])
async def test_what_the_agent_has_heard_of_is_not_repeated(keep: Keep, says: str) -> None:
    async def begin(got: Got) -> None:
        token = got.json()["params"]["_meta"].get("progressToken")
        params = {"progress": 1, "progressToken": token} if says == "progress" else {"level": "info", "data": "working"}
        await got.send(STREAM_HEAD, event({"jsonrpc": "2.0", "method": f"notifications/{says}", "params": params}))
        await got.drop()

    mcp = notes(**{"resources/read": begin})
    async with byte_server(mcp) as server:
        kept = keep(server.url)
        async with supervised(kept.upstream):
            await kept.upstream.settled.wait()
            heard: list[str] = []

            def hear(method: str, params: dict[str, Any] | None) -> None:
                heard.append(method)

            with pytest.raises(UpstreamLost):
                await read(kept, hear=hear, progress=True)
            assert heard == [f"notifications/{says}"]
            assert mcp.methods().count("resources/read") == 1


async def test_what_the_agent_was_asked_for_is_not_repeated(keep: Keep) -> None:
    class Asker:
        agent = "ann"
        asked = 0

        async def ask(self, method: str, params: dict[str, Any] | None) -> dict[str, Any]:
            self.asked += 1
            return {"roots": []}

    async def roots(got: Got) -> None:
        await got.send(STREAM_HEAD, event({"jsonrpc": "2.0", "id": 7, "method": "roots/list"}))
        await wait_until(lambda: any("result" in message for message in mcp.heard))
        await got.drop()

    mcp = Mcp(service("handshake"), on={"resources/read": roots})
    async with byte_server(mcp) as server:
        kept, client_requester = keep(server.url), Asker()
        async with supervised(kept.upstream):
            await kept.upstream.settled.wait()
            with pytest.raises(UpstreamLost):
                await ask(kept.upstream, "resources/read", {"uri": "note:1"}, client_requester=client_requester)
            assert client_requester.asked == 1
            assert mcp.methods().count("resources/read") == 1


async def test_a_later_round_of_questions_is_not_repeated(keep: Keep) -> None:
    mcp = notes(**{"resources/read": drop})
    async with byte_server(mcp) as server:
        kept = keep(server.url)
        async with supervised(kept.upstream):
            await kept.upstream.settled.wait()
            with pytest.raises(UpstreamLost):
                await ask(kept.upstream, "resources/read", {"uri": "note:1", "inputResponses": {"q": {}}})
            assert mcp.methods().count("resources/read") == 1


async def test_repeating_ends_after_a_few_attempts(keep: Keep) -> None:
    mcp = notes(**{"resources/read": drop})
    async with byte_server(mcp) as server:
        kept = keep(server.url)
        async with supervised(kept.upstream):
            await kept.upstream.settled.wait()
            with pytest.raises(UpstreamLost):
                await read(kept)
            assert mcp.methods().count("resources/read") == retry.MAX_ATTEMPTS


async def test_all_attempts_have_one_deadline(keep: Keep, monkeypatch: pytest.MonkeyPatch) -> None:
    wait(monkeypatch, 0.1)

    async def never(got: Got) -> None: ...

    async def first_lost_then_silent(got: Got) -> None:
        await (drop if mcp.methods().count("resources/read") == 1 else never)(got)

    mcp = notes(**{"resources/read": first_lost_then_silent})
    async with byte_server(mcp) as server:
        kept = keep(server.url, timeout=0.4)
        async with supervised(kept.upstream):
            await kept.upstream.settled.wait()
            with pytest.raises(UpstreamTimeout):
                await read(kept)
            assert mcp.methods().count("resources/read") == 2


async def test_progress_after_a_retry_starts_the_whole_timeout_anew(
    keep: Keep, pass_time: PassTime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not what the first attempt left of it."""
    wait(monkeypatch, 0.0)
    heard: list[str] = []

    async def lose(got: Got) -> None:
        pass_time(0.8 * DEADLINE)
        await got.drop()

    async def work(got: Got) -> None:
        message = got.json()
        progress = {"progress": 1, "progressToken": message["params"]["_meta"]["progressToken"]}
        await got.send(STREAM_HEAD, event({"jsonrpc": "2.0", "method": "notifications/progress", "params": progress}))
        await wait_until(lambda: heard)
        pass_time(0.8 * DEADLINE)
        await anyio.lowlevel.checkpoint()  # whatever is due by now comes before the answer
        result = {"contents": [{"uri": "note:1", "text": "done"}]}
        await got.send(event({"jsonrpc": "2.0", "id": message["id"], "result": result}))

    async def first_lost_then_slow(got: Got) -> None:
        await (lose if mcp.methods().count("resources/read") == 1 else work)(got)

    def hear(method: str, params: dict[str, Any] | None) -> None:
        heard.append(method)

    mcp = notes(**{"resources/read": first_lost_then_slow})
    async with byte_server(mcp) as server:
        kept = keep(server.url)
        async with supervised(kept.upstream):
            await kept.upstream.settled.wait()
            assert await read(kept, hear=hear, progress=True) == "done"
            assert mcp.methods().count("resources/read") == 2


async def test_there_is_no_time_left_to_repeat(keep: Keep, monkeypatch: pytest.MonkeyPatch) -> None:
    wait(monkeypatch, 1.0)
    mcp = notes(**{"resources/read": drop})
    async with byte_server(mcp) as server:
        kept = keep(server.url, timeout=0.5)
        async with supervised(kept.upstream):
            await kept.upstream.settled.wait()
            with pytest.raises(UpstreamLost):
                await read(kept)
            assert mcp.methods().count("resources/read") == 1


async def test_amplification(keep: Keep, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every fourth read is lost, which is too few in a row for the breaker, and more than there may be retries."""
    wait(monkeypatch, 0.0)

    async def flaky(got: Got) -> None:
        await (drop(got) if mcp.methods().count("resources/read") % 4 == 0 else mcp.answer(got))

    mcp = notes(**{"resources/read": flaky})
    async with byte_server(mcp) as server:
        kept = keep(server.url)
        async with supervised(kept.upstream):
            await kept.upstream.settled.wait()
            served = 0
            for _ in range(200):
                with suppress(UpstreamLost):
                    served += await read(kept) == "a note"
            sent = mcp.methods().count("resources/read")
            assert 200 < sent <= 1.2 * 200
            assert sent == 200 + kept.upstream.health().retries
            assert served == sent - sent // 4, "what is not lost is answered"


async def test_amplification_while_nothing_works(keep: Keep, monkeypatch: pytest.MonkeyPatch) -> None:
    wait(monkeypatch, 0.0)
    mcp = notes(**{"resources/read": drop})
    async with byte_server(mcp) as server:
        kept = keep(server.url, breaker={"failures": 1_000_000})
        async with supervised(kept.upstream):
            await kept.upstream.settled.wait()
            for _ in range(100):
                with pytest.raises(UpstreamLost):
                    await read(kept)
            assert mcp.methods().count("resources/read") <= 120


# --- A program that dies -------------------------------------------------------------------------------------------


class Counted:
    """An upstream that counts, and what it has counted."""

    def __init__(self, keep: Keep, folder: Path, **settings: Any) -> None:
        self._file = folder / "calls"
        executable, *args = command("tests.faults.counted", str(self._file))
        self.kept = keep(Program(executable, args, cwd=ROOT), **settings)

    def count(self, tool: str) -> int:
        return self._file.read_text().splitlines().count(tool) if self._file.exists() else 0


async def test_what_a_killed_program_was_doing_is_never_done_twice(keep: Keep, tmp_path: Path) -> None:
    counted, other = Counted(keep, tmp_path, trust_annotations=True), Counted(keep, tmp_path / "..")
    kept = counted.kept
    async with supervised(kept.upstream, other.kept.upstream) as tg:
        await kept.upstream.settled.wait()
        await other.kept.upstream.settled.wait()
        pid = await kept.pid()
        outcome: list[GatewayError] = []

        async def work() -> None:
            try:
                await kept.call("work")
            except GatewayError as error:
                outcome.append(error)

        tg.start_soon(work)
        await wait_until(lambda: counted.count("work") == 1)
        os.kill(pid, signal.SIGKILL)
        await wait_until(lambda: outcome)
        assert isinstance(outcome[0], UpstreamLost)
        assert "SIGKILL" in outcome[0].message
        assert text_of(await other.kept.call("look")) == "look"
        assert text_of(await kept.call("look")) == "look", "it is there again"
        assert counted.count("work") == 1


async def test_a_stopped_program_hangs_its_own_calls_alone(keep: Keep, tmp_path: Path) -> None:
    counted = Counted(keep, tmp_path, timeout=0.3, timeouts={"pid": DEADLINE}, breaker={"failures": 2, "cooldown": 0.2})
    other = Counted(keep, tmp_path / "..")
    kept = counted.kept
    async with supervised(kept.upstream, other.kept.upstream):
        await kept.upstream.settled.wait()
        await other.kept.upstream.settled.wait()
        pid = (await kept.call("pid"))["structuredContent"]["pid"]
        os.kill(pid, signal.SIGSTOP)
        try:
            for _ in range(2):
                with pytest.raises(UpstreamTimeout):
                    await kept.call("look")
                assert text_of(await other.kept.call("look")) == "look"
            with pytest.raises(GatewayError, match="keeps failing"):
                await kept.call("look")
        finally:
            os.kill(pid, signal.SIGCONT)

        async def works() -> bool:
            with suppress(GatewayError):
                return text_of(await kept.call("look")) == "look"
            return False

        await wait_until(works, DEADLINE)


async def test_a_connection_that_cannot_be_made_says_when_it_is_tried_again(keep: Keep) -> None:
    async with byte_server(notes()) as server, proxy(server.url) as between:
        await between.become("refuse")
        kept = keep(between.url)
        async with supervised(kept.upstream):
            await wait_until(lambda: (kept.upstream.status.next_try or 0) > anyio.current_time() + 1.1, DEADLINE)
            with pytest.raises(UpstreamUnavailable) as caught:
                await kept.call("look")
            assert caught.value.data is not None
            assert caught.value.data["retryAfter"] > 1


@pytest.mark.parametrize(("status", "times"), [("400 Bad Request", 2), ("500 No", 1)])
async def test_what_a_lost_session_refused_is_sent_anew_and_what_it_may_have_taken_is_not(
    keep: Keep, status: str, times: int
) -> None:
    async def forget(got: Got) -> None:
        if got.headers["mcp-session-id"] == "session-1":
            await got.send(response(b"session expired", status, type="text/plain"))
        else:
            await mcp.answer(got)

    mcp = Mcp(service("handshake"), on={"x": forget})
    async with byte_server(mcp) as server:
        kept = keep(server.url)
        async with supervised(kept.upstream):
            await kept.upstream.settled.wait()
            with nullcontext() if times == 2 else pytest.raises(SessionLost):
                assert text_of(await kept.call("x")) == "x"
            await wait_until(lambda: mcp.session == 2)
            assert mcp.methods().count("tools/call") == times
            assert text_of(await kept.call("x")) == "x"
