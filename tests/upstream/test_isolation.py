"""Connections that an agent or an identity has to itself: whose they are, and when they end."""

from collections.abc import Callable
from functools import partial
from typing import Any

import anyio
import pytest

from gateway.errors import UpstreamLost, UpstreamUnavailable
from gateway.request import Principal
from gateway.server.agents import ConnectedAgent
from gateway.upstream.guardian import Guardian
from gateway.upstream.link import State
from gateway.upstream.timing import UpstreamTiming
from tests.servers.wire import encode
from tests.support import wait_until
from tests.upstream.ends import Got, Mcp, byte_server, response, service, supervised
from tests.upstream.test_upstream import Kept

pytestmark = pytest.mark.anyio

Keep = Callable[..., Kept]


@pytest.fixture
def keep(guardian: Guardian) -> Keep:
    return partial(Kept, guardian)


def agent(principal: str, version: str = "2025-11-25") -> ConnectedAgent:
    return ConnectedAgent(Principal(principal), None, version, lasting=version != "2026-07-28")


class Many(Mcp):
    """A handshake-era server with any number of sessions, which answers each call with the session's name."""

    def __init__(self) -> None:
        super().__init__(service("handshake"))
        self.open: set[str] = set()

    async def answer(self, got: Got) -> None:
        message, name = got.json(), got.headers.get("mcp-session-id", "")
        if message.get("method") == "initialize":
            self.session += 1
            self.open.add(f"session-{self.session}")
        elif message.get("method") == "tools/call":
            message["params"]["name"] = name
        reply = self.service.answer(message)
        headers = {"Mcp-Session-Id": f"session-{self.session}"} if message.get("method") == "initialize" else {}
        await got.send(response(encode(reply), headers=headers) if reply else response(status="202 Accepted"))

    async def __call__(self, got: Got) -> None:
        if got.method == "DELETE":
            self.open.discard(got.headers["mcp-session-id"])
        await super().__call__(got)


async def session_of(kept: Kept, who: ConnectedAgent | None) -> str:
    """Of whoever asks; None is the gateway itself."""
    if who is None:
        result = await kept.upstream.ask("tools/call", {"name": "a"})
    else:
        result = await kept.call("a", agent=who)
    return result["content"][0]["text"]


async def test_shared_by_default(keep: Keep) -> None:
    async with byte_server(Many()) as server:
        kept = keep(server.url)
        async with supervised(kept.upstream):
            agents = [None, agent("ann"), agent("bob")]
            assert {await session_of(kept, one) for one in agents} == {"session-1"}


async def test_one_for_each_session_and_it_ends_with_it(keep: Keep) -> None:
    many = Many()
    async with byte_server(many) as server:
        kept = keep(server.url, isolation="session")
        async with supervised(kept.upstream):
            await kept.upstream.settled.wait()
            first, second = agent("ann"), agent("ann")
            names = [await session_of(kept, one) for one in (first, second, first, None)]
            assert names == ["session-2", "session-3", "session-2", "session-1"]
            kept.upstream.release(first.id)
            kept.upstream.release(first.id)
            await wait_until(lambda: many.open == {"session-1", "session-3"})
            assert await session_of(kept, second) == "session-3"
            assert await session_of(kept, first) == "session-4"
    assert many.open == set()


async def test_one_for_each_identity(keep: Keep) -> None:
    async with byte_server(Many()) as server:
        kept = keep(server.url, isolation="identity")
        async with supervised(kept.upstream):
            await kept.upstream.settled.wait()
            agents = [agent("ann"), agent("bob"), agent("ann", "2026-07-28"), agent("bob")]
            assert [await session_of(kept, one) for one in agents] == ["session-2", "session-3"] * 2
            kept.upstream.release(agents[0].id)
            assert await session_of(kept, agents[2]) == "session-2"


async def test_modern_agents_have_no_session_but_an_identity(keep: Keep) -> None:
    async with byte_server(Many()) as server:
        kept = keep(server.url, isolation="session")
        async with supervised(kept.upstream):
            await kept.upstream.settled.wait()
            assert {await session_of(kept, agent("ann", "2026-07-28")) for _ in range(3)} == {"session-2"}


async def test_an_identitys_connection_ends_when_it_is_idle(keep: Keep) -> None:
    many = Many()
    async with byte_server(many) as server:
        kept = keep(server.url, isolation="identity", timing=UpstreamTiming(private_idle_seconds=0.2))
        async with supervised(kept.upstream):
            await kept.upstream.settled.wait()
            assert await session_of(kept, agent("ann")) == "session-2"
            await wait_until(lambda: many.open == {"session-1"})
            assert await session_of(kept, agent("ann")) == "session-3"


async def test_an_idle_connection_with_a_call_under_way_is_left(keep: Keep) -> None:
    go_on = anyio.Event()

    async def slow(got: Got) -> None:
        await go_on.wait()
        await many.answer(got)

    many = Many()
    many.on["slow"] = slow
    async with byte_server(many) as server:
        kept = keep(server.url, isolation="identity", timing=UpstreamTiming(private_idle_seconds=0.05))
        async with supervised(kept.upstream) as tg:
            await kept.upstream.settled.wait()
            outcome: list[Any] = []

            async def call() -> None:
                outcome.append(await kept.call("slow", agent=agent("ann")))

            tg.start_soon(call)
            await wait_until(lambda: many.methods()[-1] == "tools/call")
            await anyio.sleep(0.15)
            go_on.set()
            await wait_until(lambda: outcome)


async def test_they_are_bounded(keep: Keep) -> None:
    async with byte_server(Many()) as server:
        kept = keep(server.url, isolation="session", max_sessions=2)
        async with supervised(kept.upstream):
            await kept.upstream.settled.wait()
            first, second = agent("ann"), agent("bob")
            await session_of(kept, first)
            await session_of(kept, second)
            with pytest.raises(UpstreamUnavailable, match="2 connections of their own"):
                await session_of(kept, agent("eve"))
            kept.upstream.release(first.id)
            assert await session_of(kept, agent("eve")) == "session-4"


async def test_ones_trouble_is_not_the_others(keep: Keep) -> None:
    async def refuse(got: Got) -> None:
        await got.send(response(status="500 Oops"))

    many = Many()
    async with byte_server(many) as server:
        kept = keep(server.url, isolation="session", grace=0, timing=UpstreamTiming(backoff_base_seconds=60.0))
        async with supervised(kept.upstream):
            await kept.upstream.settled.wait()
            many.on["initialize"] = refuse
            with pytest.raises(UpstreamUnavailable, match="HTTP status 500"):
                await session_of(kept, agent("ann"))
            assert kept.upstream.status.state is State.READY
            assert kept.upstream.listing is not None
            assert len(kept.hears.listings) == 1
            assert await session_of(kept, None) == "session-1"


async def test_what_is_in_flight_when_its_agent_goes_is_not_repeated(keep: Keep) -> None:
    async def never(got: Got) -> None: ...

    many = Many()
    many.on["slow"] = never
    async with byte_server(many) as server:
        kept = keep(server.url, isolation="session")
        async with supervised(kept.upstream) as tg:
            await kept.upstream.settled.wait()
            ann = agent("ann")

            async def leave() -> None:
                await wait_until(lambda: many.methods()[-1] == "tools/call")
                kept.upstream.release(ann.id)

            tg.start_soon(leave)
            with pytest.raises(UpstreamLost) as caught:
                await kept.call("slow", agent=ann)
            assert caught.value.delivered
            assert many.methods().count("tools/call") == 1
