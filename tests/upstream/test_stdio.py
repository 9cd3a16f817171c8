"""Stdio: broken lines fail the calls they answer and no other, and nothing a child prints or withholds stalls us."""

import asyncio
import sys
from typing import Any

import anyio
import pytest

from gateway.errors import GatewayError, UpstreamLost, UpstreamOversized, UpstreamProtocolError, UpstreamTimeout
from gateway.jsonrpc import RequestId
from gateway.upstream.timing import UpstreamTiming
from gateway.upstream.transport import process
from gateway.upstream.transport.pending import Pending
from gateway.upstream.transport.process import Program
from gateway.upstream.transport.stderr import BURST, StderrLog
from gateway.upstream.transport.stdio import StdioDispatcher
from tests.support import wait_until
from tests.upstream.ends import DEADLINE, Ears, fixture, spawned

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module", params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    return "asyncio", {"use_uvloop": request.param}


# --- A child that misbehaves ---------------------------------------------------------------------------------------


async def test_misbehaviour_of_every_kind() -> None:
    """One child survives them all: each fails at once, alone, and the next call works."""
    failures: dict[str, tuple[dict[str, Any], type[GatewayError]]] = {
        "invalid_utf8": ({}, UpstreamProtocolError),
        "truncated": ({}, UpstreamProtocolError),
        "nested": ({}, UpstreamProtocolError),
        "many_values": ({}, UpstreamOversized),
        "no_result": ({}, UpstreamProtocolError),
        "huge": ({"megabytes": 64}, UpstreamOversized),
    }
    async with spawned(fixture("bad")) as up:
        for kind, (arguments, error) in failures.items():
            with pytest.raises(error) as caught:
                await up.ask(kind, arguments)
            assert type(caught.value) is error
            assert await up.call("ok") == "ok"
        for kind in ("silent", "wrong_id", "null_id", "array"):  # these no longer say which call they answer
            with pytest.raises(UpstreamTimeout):
                await up.ask(kind, timeout=0.05)
            assert await up.call("ok") == "ok"
        for kind in ("noise", "twice"):
            assert await up.call(kind) == kind
        assert len([noise for noise in up.ears.noise if "Server ready!" in noise]) == 1
        assert up.dispatcher.closed is None


async def test_a_large_answer_within_the_cap() -> None:
    async with spawned(fixture("bad")) as up:
        result = await up.ask("huge", {"megabytes": 8})
        assert len(result["padding"]) == 8 << 20


async def test_a_flood_on_stderr_stalls_nothing_and_is_bounded() -> None:
    async with spawned(fixture("bad")) as up:
        assert await up.call("flood_stderr", {"megabytes": 20}) == "flood_stderr"
        assert await up.call("ok") == "ok"
    printed = [noise for noise in up.ears.noise if noise.startswith("stderr:")]
    assert BURST <= len(printed) < 2 * BURST


@pytest.mark.parametrize(("kind", "reason"), [("exit", "exited with status 3"), ("kill", "ended by SIGKILL")])
async def test_a_child_that_dies_takes_its_calls_with_it(kind: str, reason: str) -> None:
    async with spawned(fixture("bad")) as up, anyio.create_task_group() as tg:
        outcome: list[UpstreamLost] = []

        async def other() -> None:
            try:
                await up.ask("silent")
            except UpstreamLost as error:
                outcome.append(error)

        tg.start_soon(other)
        await wait_until(lambda: up.dispatcher.pending)
        with pytest.raises(UpstreamLost, match=reason) as caught:
            await up.ask(kind)
        assert caught.value.delivered
        await wait_until(lambda: len(outcome) == 1)
        assert reason in outcome[0].message


# --- A child with ways of its own ----------------------------------------------------------------------------------

HANDSHAKE = """
import json, sys
def say(**m): print(json.dumps({"jsonrpc": "2.0", **m}), flush=True)
for line in sys.stdin:
    m = json.loads(line)
    if m["method"] == "initialize":
        info = {"name": "x", "version": "1"}
        say(id=m["id"], result={"protocolVersion": "2025-11-25", "capabilities": {}, "serverInfo": info})
    elif m["method"] == "tools/call":
        call(m, m["params"]["name"])
    else:
        other(m)
"""


def child(code: str) -> Program:
    """A handshake-era server in which `call(message, tool)` and `other(message)` are to be defined."""
    begin = "def call(m, tool): pass\ndef other(m): pass\n"
    return Program(sys.executable, ["-c", begin + code + HANDSHAKE])


async def test_an_id_may_come_back_as_a_string() -> None:
    code = 'def call(m, tool): say(id=str(m["id"]), result={"content": [{"text": tool}]})'
    async with spawned(child(code), probe=False) as up:
        assert await up.call("a") == "a"


async def test_late_answers_are_ignored() -> None:
    code = """
late = []
def call(m, tool):
    if tool == "late": late.append(m); return
    for l in late: say(id=l["id"], result={"content": [{"text": "late"}]})
    say(id=m["id"], result={"content": [{"text": tool}]})
"""
    async with spawned(child(code), probe=False) as up:
        with pytest.raises(UpstreamTimeout):
            await up.ask("late", timeout=0.05)
        assert await up.call("a") == "a"
        assert up.ears.noise == []


async def test_who_gives_up_says_so() -> None:
    code = """
heard = []
def other(m): heard.append(m)
def call(m, tool):
    if tool == "heard": say(id=m["id"], result={"heard": heard})
"""
    async with spawned(child(code), probe=False) as up:
        with pytest.raises(UpstreamTimeout):
            await up.ask("slow", timeout=0.05)
        async with anyio.create_task_group() as tg:
            tg.start_soon(up.ask, "slow")
            await wait_until(lambda: up.dispatcher.pending)
            tg.cancel_scope.cancel()
        heard = (await up.ask("heard"))["heard"]
    assert [m["method"] for m in heard] == ["notifications/initialized", *["notifications/cancelled"] * 2]
    assert [m["params"]["requestId"] for m in heard[1:]] == [2, 3]


async def test_the_child_may_ask() -> None:
    code = """
asked = []
def call(m, tool): asked.append(m); say(id="q", method="ping")
"""
    loop = (
        "    if 'method' not in m: say(id=asked[0]['id'], result={'content': [{'text': str(m)}]}); continue\n    if m["
    )
    program = child(code)
    program = Program(program.command, [program.args[0], program.args[1].replace("    if m[", loop, 1)])
    async with spawned(program, probe=False) as up:
        assert "'id': 'q', 'result': {}" in await up.call("x")


async def test_lines_end_as_they_like() -> None:
    code = """
sys.stdout.reconfigure(newline="\\r\\n")
def call(m, tool): say(id=m["id"], result={"content": [{"text": tool}]})
"""
    async with spawned(child("import sys" + code), probe=False) as up:
        assert await up.call("a") == "a"


async def test_a_child_that_stops_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "MAX_UNREAD", 1 << 18)
    timing = UpstreamTiming(exit_seconds=0.05)
    code = """
import time
def call(m, tool):
    say(id=m["id"], result={"content": [{"text": tool}]})
    time.sleep(600)
"""
    async with spawned(child(code), probe=False, timing=timing) as up, anyio.create_task_group() as tg:
        assert await up.call("stop") == "stop"
        tg.start_soon(up.ask, "x", {"padding": "x" * (1 << 20)})
        await wait_until(lambda: up.dispatcher.pending)
        with pytest.raises(UpstreamLost, match="has stopped reading its stdin") as caught:
            await up.ask("y")
        assert not caught.value.delivered
        tg.cancel_scope.cancel()


async def test_last_words_are_heard() -> None:
    code = """
import os
def call(m, tool):
    say(id=m["id"], result={"content": [{"text": "x" * 300_000}]})
    os._exit(0)
"""
    async with spawned(child(code), probe=False) as up:
        assert len(await up.call("x")) == 300_000
        with anyio.fail_after(DEADLINE):
            assert "status 0" in (await up.dispatcher.wait_closed()).message


# --- Whom a broken line answers ------------------------------------------------------------------------------------

BROKEN: dict[str, tuple[bytes, int | None]] = {
    "id first": (b'{"id":7,"jsonrpc":"2.0","result":{"id":5,"x":"\xff"}}', 7),
    "id second": (b'{"jsonrpc":"2.0","id":7,"result":{"id":5,"x":"\xff"}}', 7),
    "blanks": (b' { "jsonrpc" : "2.0" , "id" : 7 , "result":{"id":5,"x":"\xff"}}', 7),
    "id last": (b'{"result":{"id":5,"x":"\xff"},"jsonrpc":"2.0","id":7}', 7),
    "id last but one": (b'{"result":{"id":5,"x":"\xff"},"id":7,"jsonrpc":"2.0"}', 7),
    "a float": (b'{"jsonrpc":"2.0","id":7.0,"result":{"id":5,"x":"\xff"}}', 7),
    "a byte order mark": (b'\xef\xbb\xbf{"jsonrpc":"2.0","id":7,"result":{"id":5,"x":"\xff"}}', 7),
    "a byte order mark, id last": (b'\xef\xbb\xbf{"result":{"id":5,"x":"\xff"},"jsonrpc":"2.0","id":7}', 7),
    "a string": (b'{"jsonrpc":"2.0","id":"7","result":{"id":5,"x":"\xff"}}', 7),
    "truncated": (b'{"jsonrpc":"2.0","id":7,"result":{"id":5', 7),
    "nested alone": (b'{"jsonrpc":"2.0","result":{"id":5,"x":"\xff"}}', None),
    "nested last": (b'{"jsonrpc":"2.0","result":{"x":"\xff","id":5}}', None),
    "another": (b'{"jsonrpc":"2.0","id":70,"result":{"id":5,"x":"\xff"}}', None),
    "a method": (b'{"jsonrpc":"2.0","method":"x","params":{"id":5,"x":"\xff"}}', None),
    "no object": (b'x "id":7}', None),
    "huge": (b'{"jsonrpc":"2.0","id":7,"result":{"id":5,"x":"' + b"x" * 20_000 + b'"}}', 7),
    "huge, id last": (b'{"result":{"id":5,"x":"' + b"x" * 20_000 + b'"},"jsonrpc":"2.0","id":7}', 7),
}


@pytest.mark.parametrize("kind", BROKEN)
async def test_whom_a_broken_line_answers(kind: str) -> None:
    line, answered = BROKEN[kind]
    ears = Ears()
    dispatcher = StdioDispatcher("up", ears, StderrLog(lambda line, suppressed: None, float), 10_000)
    loop = asyncio.get_running_loop()
    calls: dict[RequestId, Pending] = {id: Pending("up", id, "m", loop.create_future()) for id in (5, 7)}
    dispatcher.pending.update(calls)
    dispatcher.on_stdout(line + b"\n")
    assert {id for id, call in calls.items() if call.future.done()} == ({answered} if answered else set[int]())
    assert len(ears.noise) == (0 if answered else 1)
    for call in calls.values():
        call.settle()
