"""A call that is no longer wanted stops at its upstream, whichever way the agent's era says so."""

import json
from concurrent.futures import ThreadPoolExecutor

import anyio
import pytest

from tests.interaction._connect import NEAR, Cell
from tests.interaction._http import HttpChannel, asked, fields, open_session, post
from tests.interaction._requirements import requirement
from tests.interaction._wire import Message, Ordered, Wire, request
from tests.support import wait_until

pytestmark = pytest.mark.anyio

CONNECTIONS = ("stdio-handshake", "stdio-modern", "sse-handshake")
"""Fronts with one connection for all; the others have one for each request."""


class Slow:
    """One upstream's tool `slow`, as the agents of the gateway see it."""

    def __init__(self, wire: Wire, upstream: str) -> None:
        self._wire = wire
        self._upstream = upstream
        self._cancelled = self._counts()["cancelled"]

    def _counts(self) -> dict[str, int]:
        return self._wire.call(f"{self._upstream}__cancelled_calls").result["structuredContent"]

    def request(self, seconds: float) -> Message:
        params = {"name": f"{self._upstream}__slow", "arguments": {"seconds": seconds}}
        return request("tools/call", params, modern=self._wire.modern)

    async def running(self) -> None:
        await wait_until(lambda: self._counts()["running"] == 1)

    async def over(self, *, cancelled: bool) -> None:
        await wait_until(lambda: self._counts()["running"] == 0)
        assert self._counts()["cancelled"] == self._cancelled + cancelled


@requirement("cancel:reaches")
async def test_a_cancelled_call_is_cancelled_upstream(cell: Cell) -> None:
    before = (await cell.counts())["cancelled"]

    async def is_running() -> bool:
        return (await cell.counts())["running"] == 1

    async def is_cancelled() -> bool:
        return await cell.counts() == {"running": 0, "cancelled": before + 1}

    async with anyio.create_task_group() as calls:
        calls.start_soon(lambda: cell.call("slow", seconds=60))
        await wait_until(is_running)
        calls.cancel_scope.cancel()
    await wait_until(is_cancelled)
    assert (await cell.call("echo", still="here")).structured_content == {"still": "here"}


@requirement("cancel:no-answer")
@pytest.mark.parametrize("upstream", NEAR)
@pytest.mark.parametrize("wire", CONNECTIONS, indirect=True)
async def test_on_a_connection_a_cancelled_call_is_not_answered(wire: Wire, upstream: str) -> None:
    channel: Ordered = wire.channel  # pyright: ignore[reportAssignmentType]
    slow = Slow(wire, upstream)
    doomed = slow.request(60)
    channel.send(doomed)
    await slow.running()
    channel.send(cancelled(doomed["id"]))
    await slow.over(cancelled=True)
    assert wire.ask("tools/list").own == []
    channel.send(cancelled(doomed["id"]))  # late, and so of no consequence
    channel.send(cancelled("nonesuch"))
    assert wire.ask("tools/list").result["tools"]


@requirement("cancel:http-handshake")
@pytest.mark.parametrize("upstream", NEAR)
async def test_in_a_session_a_cancelled_call_ends_its_response(raw_base: str, upstream: str) -> None:
    url = f"{raw_base}/mcp"
    session = open_session(url)
    slow = Slow(Wire(HttpChannel(url, session), False), upstream)
    doomed = slow.request(60)
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(post, url, doomed, session)
        await slow.running()
        assert post(url, cancelled(doomed["id"]), open_session(url)) == (202, None), "another session's id"
        assert not answer.done()
        assert post(url, cancelled(doomed["id"]), session) == (202, None)
        await slow.over(cancelled=True)
        status, message = answer.result()
    assert (status, message["id"], message["error"]["code"]) == (200, doomed["id"], -32800)


@requirement("cancel:http-handshake")
@pytest.mark.parametrize("upstream", NEAR)
async def test_in_a_session_a_closed_connection_cancels_nothing(raw_base: str, upstream: str) -> None:
    url = f"{raw_base}/mcp"
    session = open_session(url)
    slow = Slow(Wire(HttpChannel(url, session), False), upstream)
    message = slow.request(0.3)
    with asked("POST", url, json.dumps(message).encode(), fields(message) | session):
        await slow.running()
    await slow.over(cancelled=False)


@requirement("cancel:http-modern")
@pytest.mark.parametrize("upstream", NEAR)
async def test_in_the_modern_era_a_closed_connection_cancels(raw_base: str, upstream: str) -> None:
    url = f"{raw_base}/mcp"
    slow = Slow(Wire(HttpChannel(url), True), upstream)
    message = slow.request(60)
    with asked("POST", url, json.dumps(message).encode(), fields(message)):
        await slow.running()
    await slow.over(cancelled=True)


def cancelled(id: object) -> Message:
    return {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": id}}
