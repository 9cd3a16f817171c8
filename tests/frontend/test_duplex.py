"""One ordered channel without a channel: bytes in, messages out, and a handler that does as it is told."""

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

from gateway.call import Call
from gateway.errors import InsufficientScope, UnknownTool
from gateway.frontend.backlog import Backlog, Backlogs
from gateway.frontend.duplex import Duplex
from gateway.protocol import Era
from gateway.request import ANONYMOUS, READ, Principal
from gateway.server.agents import ConnectedAgent
from tests.servers.peers import ENVELOPE
from tests.support import wait_until

pytestmark = pytest.mark.anyio


class Wired:
    """A connection to test: what was handled, written, opened."""

    def __init__(self, held: Backlog | None = None) -> None:
        self.held = held
        self.written: list[Any] = []
        self.opened: list[ConnectedAgent] = []
        self.handled: list[Call] = []
        self.heard: list[tuple[str, dict[str, Any]]] = []
        self.release = anyio.Event()
        self.agent = ConnectedAgent(ANONYMOUS, None, "2025-11-25")

    async def hear(self, agent: ConnectedAgent, method: str, params: dict[str, Any]) -> None:
        self.heard.append((method, params))

    async def handle(self, request: Call) -> dict[str, Any]:
        request.begin()
        try:
            return await self._handle(request)
        except anyio.get_cancelled_exc_class():
            if (reason := request.interruption()) is None:
                raise
            raise reason from None

    async def _handle(self, request: Call) -> dict[str, Any]:
        self.handled.append(request)
        match request.method:
            case "wait":
                await self.release.wait()
            case "fail":
                raise UnknownTool("x")
            case "crash":
                raise RuntimeError("a secret")
            case "say":
                request.notify("said", {"by": request.id})
            case "ask":
                assert request.ask is not None
                return {"method": "ask", "answer": await request.ask("roots/list", None)}
            case _:
                pass
        return {"method": request.method}

    def send(self, method: str, id: Any = None, **params: Any) -> None:
        message = {"jsonrpc": "2.0", "method": method, "params": params}
        self.duplex.receive(json.dumps(message if id is None else message | {"id": id}).encode())

    def receive(self, message: dict[str, Any]) -> None:
        self.duplex.receive(json.dumps(message).encode())

    def cancel(self, id: Any) -> None:
        self.send("notifications/cancelled", requestId=id)

    async def answered(self, *ids: Any) -> None:
        await wait_until(lambda: {one["id"] for one in self.written if "method" not in one} == set(ids))

    @asynccontextmanager
    async def running(self) -> AsyncGenerator["Wired"]:
        async with anyio.create_task_group() as tasks:
            self.duplex = Duplex(
                self.agent, self.handle, self.written.append, tasks, self.opened.append, self.hear, held=self.held
            )
            yield self


async def test_requests_are_answered_as_they_finish() -> None:
    async with Wired().running() as it:
        it.send("wait", 1)
        it.send("quick", 2)
        await it.answered(2)
        it.release.set()
        await it.answered(1, 2)
    assert [one["id"] for one in it.written] == [2, 1]


async def test_what_a_request_says_comes_before_its_answer() -> None:
    async with Wired().running() as it:
        it.send("say", 1)
        await it.answered(1)
    assert it.written[0] == {"jsonrpc": "2.0", "method": "said", "params": {"by": 1}}
    assert "result" in it.written[1]


async def test_errors_are_answers_and_crashes_say_nothing_of_their_cause() -> None:
    async with Wired().running() as it:
        it.send("fail", 1)
        it.send("crash", 2)
        await it.answered(1, 2)
    errors = {one["id"]: one["error"] for one in it.written}
    assert errors[1]["code"] == -32602
    assert errors[2] == {"code": -32603, "message": "Internal error"}


async def test_each_request_is_of_its_own_era() -> None:
    async with Wired().running() as it:
        it.send("old", 1)
        it.send("new", 2, **ENVELOPE)
        it.send("odd", 3, _meta={"io.modelcontextprotocol/protocolVersion": "2099-01-01"})
        await it.answered(1, 2, 3)
    eras = {request.method: request.agent.era for request in it.handled}
    assert eras == {"old": Era.HANDSHAKE, "new": Era.MODERN}
    (refused,) = (one for one in it.written if one["id"] == 3)
    assert refused["error"]["code"] in (-32602, -32022)


async def test_the_agent_is_opened_by_its_first_handshake_alone() -> None:
    async with Wired().running() as it:
        it.send("tools/list", 1)
        it.send("initialize", 2, **ENVELOPE)
        await it.answered(1, 2)
        assert it.opened == []
        it.send("initialize", 3)
        it.send("initialize", 4)
        await it.answered(1, 2, 3, 4)
    assert it.opened == [it.agent]


async def test_a_cancelled_request_is_not_answered_and_its_id_is_free_again() -> None:
    async with Wired().running() as it:
        it.send("wait", 1)
        it.send("wait", "1")
        await wait_until(lambda: len(it.handled) == 2)
        for id in (None, 2, [1], {"a": 1}, True):
            it.cancel(id)
        it.cancel(1)
        await anyio.wait_all_tasks_blocked()
        it.send("quick", 1)
        it.release.set()
        await it.answered(1, "1")
    assert {one["id"]: one["result"]["method"] for one in it.written} == {1: "quick", "1": "wait"}
    assert len(it.written) == 2


async def test_an_id_in_use_is_refused() -> None:
    async with Wired().running() as it:
        it.send("wait", 1)
        it.send("quick", 1)
        it.release.set()
        await wait_until(lambda: len(it.written) == 2)
    assert it.written[0]["error"]["code"] == -32600
    assert it.written[1]["result"] == {"method": "wait"}


@pytest.mark.parametrize(
    ("data", "id", "code"),
    [
        (b"{", None, -32700),
        (b"\xff", None, -32700),
        (b"[]", None, -32600),
        (b'"x"', None, -32600),
        (b'{"jsonrpc": "2.0", "id": 7, "method": []}', 7, -32600),
        (b'{"jsonrpc": "2.0", "id": "x", "method": "a", "params": 7}', "x", -32600),
        (b'{"jsonrpc": "2.0", "id": {}, "method": "a"}', None, -32600),
    ],
)
async def test_what_is_no_message_is_refused(data: bytes, id: Any, code: int) -> None:
    async with Wired().running() as it:
        it.duplex.receive(data)
    assert [(one["id"], one["error"]["code"]) for one in it.written] == [(id, code)]


async def test_what_is_owed_no_answer_gets_none() -> None:
    async with Wired().running() as it:
        it.send("notifications/initialized")
        it.send("nonesuch")
        it.duplex.receive(b'{"jsonrpc": "2.0", "id": 1, "result": {}}')
        it.duplex.receive(b'{"jsonrpc": "2.0", "id": 1, "error": {"code": 1, "message": ""}}')
    assert (it.written, it.handled) == ([], [])


async def test_draining_waits_for_what_is_in_flight_but_not_for_ever() -> None:
    async with Wired().running() as it:
        await it.duplex.drain(60)
        it.send("wait", 1)
        await wait_until(lambda: it.handled)
        it.release.set()
        await it.duplex.drain(60)
        assert [one["id"] for one in it.written] == [1]
        it.release = anyio.Event()
        it.send("wait", 2)
        await wait_until(lambda: len(it.handled) == 2)
        await it.duplex.drain(0)
    assert [one["id"] for one in it.written] == [1]


async def test_the_agent_is_asked_on_its_channel_and_its_answer_goes_where_it_belongs() -> None:
    async with Wired().running() as it:
        it.send("initialize", 0, capabilities={"roots": {}})
        await it.answered(0)
        for id in (1, 2):
            it.send("ask", id)
        await wait_until(lambda: len([one for one in it.written if one.get("method") == "roots/list"]) == 2)
        first, second = (one["id"] for one in it.written if one.get("method") == "roots/list")
        for id in ("nonesuch", None, 99):
            it.receive({"jsonrpc": "2.0", "id": id, "result": {"n": 0}})
        it.receive({"jsonrpc": "2.0", "id": second, "result": {"n": 2}})
        it.receive({"jsonrpc": "2.0", "id": second, "result": {"n": 3}})
        it.receive({"jsonrpc": "2.0", "id": first, "error": {"code": -1, "message": "no"}})
        await it.answered(0, 1, 2)
        answers = {one["id"]: one for one in it.written if "method" not in one}
        assert answers[2]["result"]["answer"] == {"n": 2}
        assert answers[1]["error"] == {"code": -1, "message": "no"}


async def test_a_question_is_taken_back_when_its_request_is_cancelled() -> None:
    async with Wired().running() as it:
        it.send("initialize", 0)
        await it.answered(0)
        it.send("ask", 1)
        await wait_until(lambda: it.written[-1].get("method") == "roots/list")
        asked = it.written[-1]["id"]
        it.cancel(1)
        await wait_until(lambda: it.written[-1].get("method") == "notifications/cancelled")
        assert it.written[-1]["params"]["requestId"] == asked


async def test_who_has_not_initialized_is_not_asked() -> None:
    async with Wired().running() as it:
        it.send("ask", 1)
        await it.answered(1)
        assert "has not initialized" in it.written[-1]["error"]["message"]


async def test_what_it_says_unasked_is_passed_on() -> None:
    async with Wired().running() as it:
        it.send("notifications/roots/list_changed")
        await wait_until(lambda: it.heard == [("notifications/roots/list_changed", {})])


async def test_a_request_keeps_the_principal_it_came_with() -> None:
    """Whoever comes next, and be it before it was handled: another token of the same person may grant more."""
    wide, narrow = Principal("oauth:i|alice"), Principal("oauth:i|alice", scopes=frozenset({READ}))
    it = Wired()
    it.agent = ConnectedAgent(wide, None, "2025-11-25")
    modern = {"_meta": ENVELOPE}
    async with it.running():
        for id, params in enumerate(({}, modern, {}, modern)):
            sent = {"jsonrpc": "2.0", "id": id, "method": "wait", "params": params}
            it.duplex.take(sent, narrow if id < 2 else wide)
        await wait_until(lambda: len(it.handled) == 4)
        it.release.set()
        await it.answered(0, 1, 2, 3)
    assert [request.principal for request in it.handled] == [narrow, narrow, wide, wide]


async def test_an_answer_needs_what_the_question_needed() -> None:
    """Who may not call may not answer what a call asks; who may not use an upstream, nothing that it asks."""
    wide, reader = Principal("oauth:i|alice"), Principal("oauth:i|alice", scopes=frozenset({READ}))
    elsewhere = Principal("oauth:i|alice", upstreams=frozenset({"other"}))
    it = Wired()
    it.agent = ConnectedAgent(wide, None, "2025-11-25")
    async with it.running():
        it.duplex.take({"jsonrpc": "2.0", "id": 1, "method": "initialize"}, wide)
        await it.answered(1)
        it.duplex.take({"jsonrpc": "2.0", "id": 2, "method": "ask"}, wide)
        await wait_until(lambda: it.handled[-1].method == "ask")
        it.handled[-1].upstream = "up"
        await wait_until(lambda: it.written[-1].get("method") == "roots/list")
        answer: dict[str, Any] = {"jsonrpc": "2.0", "id": it.written[-1]["id"], "result": {"roots": []}}
        with pytest.raises(InsufficientScope):
            it.duplex.take(answer, reader)
        it.duplex.take(answer | {"result": {"roots": ["foreign"]}}, elsewhere)
        it.duplex.take(answer, wide)
        await it.answered(1, 2)
    assert it.written[-1]["result"]["answer"] == {"roots": []}


async def test_the_answers_to_batches_are_bounded_together_while_they_wait_for_the_rest() -> None:
    held = Backlogs(cap_stream=5_000).open()
    async with Wired(held).running() as it:
        it.agent.version = "2025-03-26"
        it.send("initialize", 0)
        await wait_until(lambda: it.opened)
        long = [{"jsonrpc": "2.0", "id": number, "method": "long" + "x" * 2_000} for number in range(1, 6)]
        it.duplex.receive(json.dumps([*long, {"jsonrpc": "2.0", "id": 6, "method": "wait"}]).encode())
        await wait_until(lambda: len(it.handled) == 7)
        await anyio.wait_all_tasks_blocked()
        assert held.size <= 5_000 + 2_100
        it.release.set()
        await wait_until(lambda: len(it.written) == 2)
        answers = it.written[1]
        assert sorted(answer["id"] for answer in answers) == [1, 2, 3, 4, 5, 6]
        assert [answer["error"]["code"] for answer in answers if "error" in answer] == [-32006] * 3
        assert held.size == 0
