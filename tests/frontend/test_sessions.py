"""Sessions without sockets: whose they are, how many, what is kept for their stream, and when they end."""

import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from gateway.access.places import SessionQuota
from gateway.call import Call
from gateway.errors import InvalidRequest, SessionNotFound, TooManySessions
from gateway.frontend.backlog import Backlogs
from gateway.frontend.session import HandshakeSession
from gateway.frontend.session_ids import MAX_ID, SessionIds
from gateway.frontend.sessions import Sessions
from gateway.frontend.timing import USUAL, FrontTiming
from gateway.request import ANONYMOUS, Principal
from gateway.server.agents import ConnectedAgent
from gateway.store.node import Node
from gateway.store.session_file import SessionFile
from tests.support import wait_until

pytestmark = pytest.mark.anyio

ALICE, BOB = Principal("key:alice"), Principal("key:bob")
OPENING: dict[str, Any] = {
    "protocolVersion": "2025-11-25",
    "capabilities": {"roots": {"listChanged": True}, "elicitation": {}},
    "clientInfo": {"name": "tests", "version": "1"},
}


def session(principal: Principal = ALICE, view: str | None = None) -> HandshakeSession:
    return HandshakeSession(ConnectedAgent(principal, view, "2025-11-25"))


class Host:
    """The server that the sessions are sessions of."""

    def __init__(self) -> None:
        self.opened: list[str] = []
        self.closed: list[str] = []
        self.restored: dict[str, Mapping[str, str]] = {}

    def open(self, agent: ConnectedAgent) -> None:
        self.opened.append(agent.id)

    async def restore(self, agent: ConnectedAgent, facts: Mapping[str, str]) -> None:
        self.restored[agent.id] = facts

    async def find_lost(self, agent: ConnectedAgent, facts: Mapping[str, str], is_gone: object) -> None: ...

    async def idle(self, agent: ConnectedAgent) -> None: ...

    async def close(self, agent: ConnectedAgent) -> None:
        self.closed.append(agent.id)


class Book:
    """The sessions of one node."""

    def __init__(self, host: Host, sessions: Sessions) -> None:
        self.host = host
        self.sessions = sessions

    @property
    def closed(self) -> list[str]:
        return self.host.closed

    def open(self, principal: Principal = ALICE, view: str | None = None) -> HandshakeSession:
        return self.sessions.open(principal, view, OPENING)


@asynccontextmanager
async def book(
    folder: Path,
    cap: int = 10,
    cap_each: int = 10,
    idle: float = 60,
    name: str = "here",
    timing: FrontTiming = USUAL,
) -> AsyncGenerator[Book]:
    """A node with its state in that folder."""
    records = SessionFile(folder / "sessions.db")
    async with anyio.create_task_group() as tg:
        host = Host()
        ids = SessionIds(["a key that all nodes have, long enough"])
        quota = SessionQuota(cap, cap_each)
        backlogs = Backlogs()
        sessions = Sessions(quota, idle, 3600, host, ids, records, Node(name), backlogs.open, tg, timing)
        yield Book(host, sessions)
        tg.cancel_scope.cancel()
    await records.aclose()


class Stream:
    """A connection that nobody reads."""

    def __init__(self) -> None:
        self.ended = False

    def push(self, data: bytes, *, must: bool = False) -> None: ...

    def end(self) -> None:
        self.ended = True


def others(one: HandshakeSession) -> list[tuple[str, Principal, str | None]]:
    """Ways to ask for a session of ALICE's at `up` that are not hers."""
    return [
        (one.id, BOB, "up"),
        (one.id, ANONYMOUS, "up"),
        (one.id, ALICE, None),
        (one.id, ALICE, "down"),
        ("", ALICE, "up"),
        (one.agent.id, ALICE, "up"),
        (one.id + "A", ALICE, "up"),
        (one.id[:-1], ALICE, "up"),
    ]


async def find(node: Book, who: tuple[str, Principal, str | None]) -> HandshakeSession:
    return node.sessions.get(*who) or await node.sessions.take_up(*who)


async def test_a_session_is_found_by_whoever_it_belongs_to(tmp_path: Path) -> None:
    async with book(tmp_path) as here, book(tmp_path) as there:
        one = here.open(ALICE, "up")
        assert here.sessions.get(one.id, ALICE, "up") is one
        for node in (here, there):
            for other in others(one):
                with pytest.raises(SessionNotFound):
                    await find(node, other)
                with pytest.raises(SessionNotFound):
                    await node.sessions.end(*other)
        assert here.sessions.get(one.id, ALICE, "up") is one


async def test_ids_are_long_and_never_the_same(tmp_path: Path) -> None:
    ids = {session().agent.id for _ in range(1000)}
    assert len(ids) == 1000
    assert min(map(len, ids)) >= 22
    async with book(tmp_path) as here:
        opened = [here.open() for _ in range(10)]
        assert len({one.id for one in opened} | {one.agent.id for one in opened}) == 20


def call(id: int | str = 1) -> Call:
    agent = session().agent
    return Call(id, "tools/call", {}, agent, agent.opener, lambda method, params: None)


async def test_there_is_a_cap_for_all_and_one_for_each(tmp_path: Path) -> None:
    async with book(tmp_path, cap=3, cap_each=2) as tight:
        for principal in (ALICE, ALICE, BOB):
            tight.open(principal)
        with pytest.raises(TooManySessions):
            tight.open(BOB)
    async with book(tmp_path, cap=10, cap_each=2) as roomy:
        for _ in range(2):
            roomy.open(ALICE)
        with pytest.raises(TooManySessions):
            roomy.open(ALICE)
        roomy.open(BOB)
        assert len(roomy.sessions) == 3


async def test_an_ended_session_is_gone_and_told_of_once(tmp_path: Path) -> None:
    async with book(tmp_path, cap=1) as here:
        one, stream = here.open(), Stream()
        one.streams.standing.attach(stream, prime=False)
        one.begin(under_way := call())
        await here.sessions.end(one.id, ALICE, None)
        assert here.closed == [one.agent.id]
        assert stream.ended
        assert under_way.is_cancelled
        assert here.sessions.get(one.id, ALICE, None) is None
        with pytest.raises(SessionNotFound):
            await here.sessions.take_up(one.id, ALICE, None)
        with pytest.raises(SessionNotFound):
            await here.sessions.end(one.id, ALICE, None)
        assert here.closed == [one.agent.id]
        here.open()


async def test_the_sessions_of_those_no_longer_good_are_closed(tmp_path: Path) -> None:
    agent = Principal("agent:1", root=ALICE.id)
    async with book(tmp_path) as here, book(tmp_path) as there:
        all_of_them = [here.open(principal) for principal in (ALICE, BOB, agent)]
        await here.sessions.close_those_of({ALICE.id, "nobody"})
        assert here.closed == [all_of_them[0].agent.id, all_of_them[2].agent.id]
        assert len(here.sessions) == 1
        for node in (here, there):
            for one, principal in ((all_of_them[0], ALICE), (all_of_them[2], agent)):
                with pytest.raises(SessionNotFound):
                    await node.sessions.take_up(one.id, principal, None)
        await there.sessions.take_up(all_of_them[1].id, BOB, None)
        again = here.open(ALICE)  # a key that was revoked by mistake is there again
        assert (await there.sessions.take_up(again.id, ALICE, None)).id == again.id


# --- Made anew --------------------------------------------------------------------------------------------------------


async def test_a_session_is_made_anew_as_its_client_opened_it(tmp_path: Path) -> None:
    async with book(tmp_path) as here:
        one = here.open(ALICE, "up")
        here.sessions.opened(one)
        await here.sessions.note(one.agent, {"level": "info", "other": "x"})
        await here.sessions.note(one.agent, {"other": None})
    async with book(tmp_path, name="there") as there:
        made = await there.sessions.take_up(one.id, ALICE, "up")
        assert there.sessions.get(one.id, ALICE, "up") is made
        assert await there.sessions.take_up(one.id, ALICE, "up") is made
        assert (made.id, made.agent.id) == (one.id, one.agent.id)
        assert made.agent.version == "2025-11-25"
        assert made.agent.capabilities == OPENING["capabilities"]
        assert made.agent.info == OPENING["clientInfo"]
        assert made.agent.opener is ALICE
        await wait_until(lambda: there.host.restored == {one.agent.id: {"level": "info"}})
        assert there.host.opened == [one.agent.id]


async def test_what_does_not_fit_into_an_id_is_kept_beside_it_or_clipped(tmp_path: Path) -> None:
    large = OPENING | {"capabilities": OPENING["capabilities"] | {"experimental": {"x": "y" * 7000}}}
    async with book(tmp_path) as here:
        one = here.sessions.open(ALICE, None, large)
        assert len(one.id) <= MAX_ID
        (tmp_path / "elsewhere").mkdir()
        async with book(tmp_path / "elsewhere") as elsewhere:
            made = await elsewhere.sessions.take_up(one.id, ALICE, None)
            assert made.agent.capabilities == OPENING["capabilities"]
        here.sessions.opened(one)

        async def is_whole() -> bool:
            async with book(tmp_path) as there:
                return (await there.sessions.take_up(one.id, ALICE, None)).agent.capabilities == large["capabilities"]

        await wait_until(is_whole)


async def test_a_session_that_ended_on_one_node_ends_on_those_that_share_its_state(tmp_path: Path) -> None:
    async with book(tmp_path) as here, book(tmp_path) as there, anyio.create_task_group() as tg:
        one, other = here.open(), here.open()
        for each in (one, other):
            await there.sessions.take_up(each.id, ALICE, None)
        tg.start_soon(there.sessions.run)
        await here.sessions.end(one.id, ALICE, None)
        await wait_until(lambda: there.closed == [one.agent.id])
        assert there.sessions.get(other.id, ALICE, None) is not None
        tg.cancel_scope.cancel()


async def test_a_session_can_be_made_anew_for_its_lifetime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with book(tmp_path) as here, book(tmp_path) as there:
        one = here.open()
        now = time.time()
        monkeypatch.setattr(time, "time", lambda: now + 3601)
        with pytest.raises(SessionNotFound):
            await there.sessions.take_up(one.id, ALICE, None)
        assert here.sessions.get(one.id, ALICE, None) is one, "whoever is there stays"
        await here.sessions.end(one.id, ALICE, None)
        assert here.closed == [one.agent.id]


async def test_questions_and_events_of_another_run_are_never_taken_for_this_ones(tmp_path: Path) -> None:
    async with book(tmp_path) as here, book(tmp_path, name="there") as there:
        one = here.open()
        made = await there.sessions.take_up(one.id, ALICE, None)
        asked: list[set[object]] = []
        for each in (one, made):
            ids: list[Any] = []
            async with anyio.create_task_group() as tg:
                tg.start_soon(each.asks.ask, ids.append, "ping", None)
                await wait_until(lambda ids=ids: ids)
                tg.cancel_scope.cancel()
            assert 0 < ids[0]["id"] < 2**53
            asked.append({ids[0]["id"], each.streams.standing.id(1)})
        assert not asked[0] & asked[1]


async def test_only_idle_sessions_are_forgotten(tmp_path: Path) -> None:
    async with book(tmp_path, idle=0.05) as here, anyio.create_task_group() as tasks:
        idle, streaming, calling = here.open(), here.open(), here.open()
        streaming.streams.standing.attach(stream := Stream(), prime=False)
        calling.begin(under_way := call())
        tasks.start_soon(here.sessions.run)
        await wait_until(lambda: here.closed == [idle.agent.id])
        streaming.streams.standing.detach(stream)
        calling.end(under_way)
        await wait_until(lambda: len(here.closed) == 3)
        tasks.cancel_scope.cancel()
        assert (await here.sessions.take_up(idle.id, ALICE, None)).agent.id == idle.agent.id


@pytest.mark.parametrize(("cap", "cap_each"), [(3, 10), (10, 3)])
async def test_sessions_that_are_not_in_use_make_room(tmp_path: Path, cap: int, cap_each: int) -> None:
    async with book(tmp_path, cap, cap_each, timing=FrontTiming(unused_seconds=-1.0)) as here:
        first, streaming, third = (here.open() for _ in range(3))
        streaming.streams.standing.attach(Stream(), prime=False)
        here.open(BOB if cap == 3 else ALICE)
        assert here.sessions.get(streaming.id, ALICE, None) is streaming
        assert here.sessions.get(first.id, ALICE, None) is None
        await wait_until(lambda: first.agent.id in here.closed)
        assert (await here.sessions.take_up(first.id, ALICE, None)).id == first.id
        assert third.agent.id not in here.closed or here.sessions.get(third.id, ALICE, None) is None


async def test_what_never_began_is_no_session(tmp_path: Path) -> None:
    async with book(tmp_path, cap=1) as here:
        for _ in range(3):
            await here.sessions.discard(here.open())
        assert len(here.sessions) == 0


# --- Requests in them -------------------------------------------------------------------------------------------------


async def test_a_request_id_is_in_use_until_its_request_ends() -> None:
    one = session()
    one.begin(first := call())
    one.begin(call("1"))
    second = call()
    with pytest.raises(InvalidRequest):
        one.begin(second)
    one.end(second)
    with pytest.raises(InvalidRequest):
        one.begin(call())
    one.end(first)
    one.begin(call())


async def test_only_the_request_named_is_cancelled() -> None:
    one = session()
    named, other = call(), call("1")
    one.begin(named)
    one.begin(other)
    others: list[object] = [None, 2, [], {}, True, 1.5]
    for id in others:
        one.cancel(id)
    assert (named.is_cancelled, other.is_cancelled) == (False, False)
    one.cancel(1)
    assert (named.is_cancelled, other.is_cancelled) == (True, False)
