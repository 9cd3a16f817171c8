"""Whatever comes over a pipe, from a child or from a client: nothing breaks, and what comes next is understood."""

import asyncio
import json
from itertools import pairwise
from typing import Any

import anyio
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.call import Call
from gateway.errors import GatewayError
from gateway.frontend.duplex import Duplex
from gateway.request import ANONYMOUS
from gateway.server.agents import ConnectedAgent
from gateway.upstream.transport.lines import LineSplitter, Overlong
from gateway.upstream.transport.pending import Pending
from gateway.upstream.transport.stderr import StderrLog
from gateway.upstream.transport.stdio import StdioDispatcher
from tests.upstream.ends import Ears

CAP = 400

scalars = st.none() | st.booleans() | st.integers() | st.just(2**70) | st.text(max_size=8) | st.floats()
keys = st.sampled_from(
    [
        *("jsonrpc", "id", "method", "params", "result", "error", "code", "message", "data", "_meta", "progressToken"),
        *("requestId", "name", "arguments", "capabilities", "io.modelcontextprotocol/protocolVersion"),
        *("io.modelcontextprotocol/subscriptionId", "io.modelcontextprotocol/clientCapabilities"),
    ]
)
words = st.sampled_from(
    [
        *("2.0", "2026-07-28", "tools/call", "initialize", "ping", "roots/list", "notifications/cancelled"),
        *("notifications/progress", "notifications/message", "7", "9" * 30, "subscriptions/listen"),
    ]
)
anything = st.recursive(
    scalars | words | st.sampled_from([1, 7]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=5),
    max_leaves=12,
)
shaped = st.fixed_dictionaries(
    {"jsonrpc": st.just("2.0")},
    optional={
        "id": anything,
        "method": words | anything,
        "params": anything,
        "result": anything,
        "error": anything,
    },
)
lines = (
    (shaped | anything).map(lambda value: json.dumps(value).encode())
    | st.binary(max_size=60)
    | st.sampled_from([b"[" * 3000, b'{"id":7', b"x" * (CAP + 1), b'{"id":7,"x":"' + b"y" * CAP, b"\r", b"9" * CAP])
)
streams = st.lists(lines, max_size=6).map(lambda all: b"".join(line + b"\n" for line in all))
cuts = st.lists(st.integers(0, 900), max_size=8)


def pieces(stream: bytes, at: list[int]) -> list[bytes]:
    edges = [0, *sorted(min(each, len(stream)) for each in at), len(stream)]
    return [stream[a:b] for a, b in pairwise(edges) if a < b]


@settings(deadline=None)
@given(streams, cuts)
def test_a_child_prints_what_it_likes(stream: bytes, at: list[int]) -> None:
    async def talk() -> None:
        dispatcher = StdioDispatcher("up", Ears(), StderrLog(lambda line, suppressed: None, lambda: 0.0), CAP)
        futures = [asyncio.get_running_loop().create_future() for _ in range(2)]
        pending = [Pending("up", id, "tools/call", future) for id, future in zip((7, 1000), futures, strict=True)]
        dispatcher.pending = {each.id: each for each in pending}
        for piece in pieces(stream, at):
            dispatcher.on_stdout(piece)
        if not futures[1].done():
            dispatcher.on_stdout(b'{"jsonrpc":"2.0","id":1000,"result":{"fine":true}}\n')
            assert await futures[1] == {"fine": True}
        for future in futures:
            if future.done() and future.exception() is not None:
                assert isinstance(future.exception(), GatewayError)

    anyio.run(talk)


@settings(deadline=None)
@given(streams, cuts)
def test_a_client_says_what_it_likes(stream: bytes, at: list[int]) -> None:
    async def talk() -> None:
        written: list[Any] = []
        splitter = LineSplitter(CAP)
        async with anyio.create_task_group() as tg:
            agent = ConnectedAgent(ANONYMOUS, None, "2025-11-25")
            duplex = Duplex(agent, _answer, written.append, tg, lambda agent: None, _hear)
            last = b'\n{"jsonrpc":"2.0","id":"last one","method":"ping"}\n'
            for piece in [*pieces(stream, at), last]:
                for line in splitter.feed(piece):
                    if not isinstance(line, Overlong) and line.strip():
                        duplex.receive(line)
        assert [one["result"] for one in written if one.get("id") == "last one"] == [{"fine": True}]
        assert not [one for one in written if one.get("error", {}).get("code") == -32603], "a defect of ours"

    anyio.run(talk)


async def _answer(request: Call) -> dict[str, Any]:
    return {"fine": True}


async def _hear(agent: ConnectedAgent, method: str, params: dict[str, Any]) -> None: ...
