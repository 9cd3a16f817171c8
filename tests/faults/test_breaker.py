"""An upstream that keeps failing is left alone, and tried again by one request; only what is its fault counts."""

from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest

from gateway.errors import CircuitOpen, GatewayError, UpstreamError, UpstreamLost, UpstreamTimeout
from gateway.server.agents import ConnectedAgent
from gateway.upstream.breaker import BreakerState
from tests.faults.conftest import Keep
from tests.servers.wire import encode
from tests.support import wait_until
from tests.upstream.ends import (
    STREAM_HEAD,
    Got,
    Mcp,
    byte_server,
    event,
    fixture,
    response,
    service,
    supervised,
    text_of,
)
from tests.upstream.test_isolation import Many, agent
from tests.upstream.test_upstream import Kept

pytestmark = pytest.mark.anyio

CLOSED, OPEN, HALF_OPEN = BreakerState


async def never(got: Got) -> None: ...


async def drop(got: Got) -> None:
    await got.drop()


def saying(answer: bytes) -> Callable[[Got], Awaitable[None]]:
    async def say(got: Got) -> None:
        await got.send(answer)

    return say


def error_of(status: str) -> Callable[[Got], Awaitable[None]]:
    async def say(got: Got) -> None:
        error = {"jsonrpc": "2.0", "id": got.json()["id"], "error": {"code": -32603, "message": "oops"}}
        await got.send(response(encode(error), status))

    return say


async def outcome(kept: Kept, tool: str, **options: Any) -> str:
    """What becomes of one call: the class of its error, or what it was answered."""
    try:
        return text_of(await kept.call(tool, **options))
    except GatewayError as error:
        return type(error).__name__


async def test_it_opens_fails_fast_and_lets_one_probe_through(keep: Keep) -> None:
    go_on = anyio.Event()

    async def slow(got: Got) -> None:
        await go_on.wait()
        await mcp.answer(got)

    mcp = Mcp(service("modern"), on={"hang": never, "slow": slow})
    async with byte_server(mcp) as server:
        kept = keep(server.url, timeout=0.1, timeouts={"slow": 10}, breaker={"failures": 5, "cooldown": 0.5})
        async with supervised(kept.upstream) as tg:
            await kept.upstream.settled.wait()
            assert [await outcome(kept, "hang") for _ in range(5)] == ["UpstreamTimeout"] * 5
            with pytest.raises(CircuitOpen) as refused:
                await kept.call("a")
            asked = len(mcp.methods())
            assert await outcome(kept, "a") == "CircuitOpen"
            assert len(mcp.methods()) == asked
            assert "'up' keeps failing" in refused.value.message
            assert "it did not answer tools/call within 0.1 s. It is tried again in 1 s." in refused.value.message
            data = refused.value.data
            assert data is not None
            assert 0 < data.pop("retryAfter") <= 0.5
            reason = "it did not answer tools/call within 0.1 s"
            assert data == {"upstream": "up", "reason": reason, "delivered": False}
            assert mcp.methods().count("tools/call") == 5

            await wait_until(lambda: kept.upstream.breaker.retry_after(anyio.current_time()) == 0)
            probed: list[str] = []

            async def probe() -> None:
                probed.append(await outcome(kept, "slow"))

            tg.start_soon(probe)
            await wait_until(lambda: mcp.methods().count("tools/call") == 6)
            assert kept.upstream.breaker.state is HALF_OPEN
            assert [await outcome(kept, "a") for _ in range(5)] == ["CircuitOpen"] * 5
            assert mcp.methods().count("tools/call") == 6
            go_on.set()
            await wait_until(lambda: probed)
            assert probed == ["slow"]
            assert kept.upstream.breaker.state is CLOSED
            assert await outcome(kept, "a") == "a"


async def test_a_probe_that_fails_opens_it_again(keep: Keep) -> None:
    mcp = Mcp(service("modern"), on={"x": drop})
    async with byte_server(mcp) as server:
        kept = keep(server.url, breaker={"failures": 2, "cooldown": 0.1})
        async with supervised(kept.upstream):
            await kept.upstream.settled.wait()
            assert [await outcome(kept, "x") for _ in range(3)] == ["UpstreamLost", "UpstreamLost", "CircuitOpen"]
            await wait_until(lambda: kept.upstream.breaker.retry_after(anyio.current_time()) == 0)
            assert [await outcome(kept, "x") for _ in range(2)] == ["UpstreamLost", "CircuitOpen"]
            assert kept.upstream.health().openings == 1


async def test_a_probe_that_is_cancelled_leaves_its_place_to_the_next(keep: Keep) -> None:
    mcp = Mcp(service("modern"), on={"x": drop, "hang": never})
    async with byte_server(mcp) as server:
        kept = keep(server.url, breaker={"failures": 1, "cooldown": 0.01})
        async with supervised(kept.upstream):
            await kept.upstream.settled.wait()
            await outcome(kept, "x")
            await wait_until(lambda: kept.upstream.breaker.retry_after(anyio.current_time()) == 0)
            with anyio.move_on_after(0.1):
                await kept.call("hang")
            assert kept.upstream.breaker.state is OPEN
            assert await outcome(kept, "a") == "a"


FAILURES: dict[str, tuple[Callable[[Got], Awaitable[None]], str]] = {
    "no answer": (never, "UpstreamTimeout"),
    "a lost connection": (drop, "UpstreamLost"),
    "a truncated answer": (saying(response(b"{}")[:-1]), "UpstreamTimeout"),
    "garbage": (saying(response(b"{nonsense")), "UpstreamProtocolError"),
    "500": (saying(response(b"oops", "500 Oops", type="text/plain")), "HttpRefusal"),
    "503 with an error": (error_of("503 Busy"), "RefusedError"),
}


@pytest.mark.parametrize("kind", FAILURES)
async def test_the_upstreams_failures_count(keep: Keep, kind: str) -> None:
    script, name = FAILURES[kind]
    async with byte_server(Mcp(service("modern"), on={"x": script})) as server:
        kept = keep(server.url, timeout=0.1, breaker={"failures": 3})
        async with supervised(kept.upstream):
            await kept.upstream.settled.wait()
            assert [await outcome(kept, "x") for _ in range(4)] == [name] * 3 + ["CircuitOpen"]


ANSWERS: dict[str, Callable[[Got], Awaitable[None]]] = {
    "an error": error_of("200 OK"),
    "an error with a status": error_of("404 Not Found"),
    "an error of its own": error_of("500 Oops"),
    "a refusal": saying(response(status="403 Forbidden")),
}


@pytest.mark.parametrize("kind", ANSWERS)
async def test_answers_do_not(keep: Keep, kind: str) -> None:
    async with byte_server(Mcp(service("modern"), on={"x": ANSWERS[kind]})) as server:
        kept = keep(server.url, breaker={"failures": 1})
        async with supervised(kept.upstream):
            await kept.upstream.settled.wait()
            for _ in range(3):
                with pytest.raises(GatewayError):
                    await kept.call("x")
            assert await outcome(kept, "a") == "a"


async def test_nor_does_a_tool_that_failed_a_client_that_left_or_one_that_takes_its_time(keep: Keep) -> None:
    async def failed(got: Got) -> None:
        result = {"content": [{"type": "text", "text": "no"}], "isError": True}
        await got.send(response(encode({"jsonrpc": "2.0", "id": got.json()["id"], "result": result})))

    mcp = Mcp(service("modern"), on={"failed": failed, "hang": never})
    async with byte_server(mcp) as server:
        kept = keep(server.url, breaker={"failures": 1})
        async with supervised(kept.upstream):
            await kept.upstream.settled.wait()
            for _ in range(2):
                assert (await kept.call("failed"))["isError"]
                with anyio.move_on_after(0.05):
                    await kept.call("hang")
            assert kept.upstream.breaker.state is CLOSED


async def test_nor_does_an_agent_that_thinks_for_too_long(keep: Keep) -> None:
    class Asker:
        agent = "ann"

        async def ask(self, method: str, params: dict[str, Any] | None) -> dict[str, Any]:
            await anyio.sleep_forever()
            raise AssertionError

    async def ask(got: Got) -> None:
        await got.send(STREAM_HEAD, event({"jsonrpc": "2.0", "id": 7, "method": "roots/list"}))

    async with byte_server(Mcp(service("handshake"), on={"x": ask})) as server:
        kept = keep(server.url, timeout=0.1, max_timeout=0.2, breaker={"failures": 1})
        async with supervised(kept.upstream):
            await kept.upstream.settled.wait()
            assert await outcome(kept, "x", client_requester=Asker()) == "UpstreamTimeout"
            assert kept.upstream.breaker.state is CLOSED
            assert await outcome(kept, "x") == "UpstreamTimeout"
            assert kept.upstream.breaker.state is OPEN, "it asked nobody"


async def test_nor_does_a_connection_that_we_end_ourselves(keep: Keep) -> None:
    async with byte_server(Mcp(service("modern"), on={"hang": never})) as server:
        kept = keep(server.url, breaker={"failures": 1})
        async with supervised(kept.upstream) as tg:
            await kept.upstream.settled.wait()
            ended: list[str] = []

            async def hang() -> None:
                ended.append(await outcome(kept, "hang"))

            tg.start_soon(hang)
            await wait_until(lambda: kept.upstream.in_flight() == 1)
            kept.upstream.restart()
            await wait_until(lambda: ended)
            assert ended == ["_Rested"]
            assert kept.upstream.breaker.state is CLOSED


async def test_many_calls_that_one_death_takes_with_it_are_one_failure(keep: Keep) -> None:
    kept = keep(fixture("bad"), breaker={"failures": 2})
    async with supervised(kept.upstream) as tg:
        await kept.upstream.settled.wait()
        lost: list[str] = []

        async def call() -> None:
            lost.append(await outcome(kept, "silent"))

        pid = await kept.pid()
        for _ in range(10):
            tg.start_soon(call)
        await wait_until(lambda: kept.upstream.in_flight() == 10)
        assert pid
        await outcome(kept, "kill")
        await wait_until(lambda: len(lost) == 10)
        assert set(lost) == {"UpstreamLost"}
        assert kept.upstream.breaker.state is CLOSED
        assert await outcome(kept, "ok") == "ok"


async def test_a_new_process_is_tried_at_once(keep: Keep) -> None:
    kept = keep(fixture("bad"), breaker={"failures": 1, "cooldown": "1h"})
    async with supervised(kept.upstream):
        await kept.upstream.settled.wait()
        await outcome(kept, "kill")
        assert kept.upstream.breaker.state is OPEN
        await wait_until(lambda: kept.upstream.breaker.retry_after(anyio.current_time()) == 0, 10)
        assert await outcome(kept, "ok") == "ok"
        assert kept.upstream.breaker.state is CLOSED


# --- Clients with connections of their own -------------------------------------------------------------------------


async def test_one_clients_trouble_is_its_own(keep: Keep) -> None:
    many = Many()
    many.on["hang"] = never
    async with byte_server(many) as server:
        kept = keep(server.url, isolation="session", timeout=0.05, breaker={"failures": 3})
        async with supervised(kept.upstream):
            await kept.upstream.settled.wait()
            ann, bob = agent("ann"), agent("bob")
            hung = [await outcome(kept, "hang", agent=ann) for _ in range(4)]
            assert hung == ["UpstreamTimeout"] * 3 + ["CircuitOpen"]
            assert kept.upstream.breaker.state is CLOSED
            assert (await outcome(kept, "a", agent=bob)).startswith("session-")


async def test_what_befalls_every_client_is_the_upstreams(keep: Keep) -> None:
    many = Many()
    many.on["hang"] = never
    async with byte_server(many) as server:
        kept = keep(server.url, isolation="session", timeout=0.05, breaker={"failures": 3})
        async with supervised(kept.upstream):
            await kept.upstream.settled.wait()
            clients: list[ConnectedAgent] = [agent(name) for name in ("ann", "bob", "eve", "joe")]
            hung = [await outcome(kept, "hang", agent=one) for one in clients]
            assert hung == ["UpstreamTimeout"] * 3 + ["CircuitOpen"]
            assert kept.upstream.breaker.state is OPEN


async def test_transitions_are_logged(keep: Keep, capsys: pytest.CaptureFixture[str]) -> None:
    mcp = Mcp(service("modern"), on={"x": drop})
    async with byte_server(mcp) as server:
        kept = keep(server.url, breaker={"failures": 1, "cooldown": 0.01})
        async with supervised(kept.upstream):
            await kept.upstream.settled.wait()
            await outcome(kept, "x")
            await wait_until(lambda: kept.upstream.breaker.retry_after(anyio.current_time()) == 0)
            await outcome(kept, "a")
    out = "".join(capsys.readouterr())
    assert [line for line in ("breaker open", "breaker half-open", "breaker closed") if line not in out] == []
    assert "it closed the connection" in out or "reset" in out


def test_what_they_are_called() -> None:
    assert {CircuitOpen.code, UpstreamTimeout.code, UpstreamLost.code} == {-32009, -32011, -32012}
    assert not issubclass(CircuitOpen, UpstreamError)


@pytest.mark.parametrize(("seconds", "said"), [(0.0, 0.0), (0.01, 0.1), (0.31, 0.4), (30.0, 30.0)])
def test_nobody_is_told_to_come_back_too_early(seconds: float, said: float) -> None:
    data = CircuitOpen("up", "it broke", seconds).data
    assert data is not None
    assert data["retryAfter"] == said
