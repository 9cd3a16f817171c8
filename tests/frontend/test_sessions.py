"""Sessions without sockets: whose they are, how many, what is kept for their stream, and when they end."""

import anyio
import pytest

from gateway.access.places import SessionQuota
from gateway.call import Call
from gateway.errors import InvalidRequest, SessionNotFound, TooManySessions
from gateway.frontend.sessions import Session, Sessions
from gateway.request import ANONYMOUS, Principal
from gateway.server.agents import ConnectedAgent
from tests.support import wait_until

pytestmark = pytest.mark.anyio

ALICE, BOB = Principal("key:alice"), Principal("key:bob")


def session(principal: Principal = ALICE, view: str | None = None) -> Session:
    return Session(ConnectedAgent(principal, view, "2025-11-25"))


class Book:
    """Sessions, and which agents of theirs have left."""

    def __init__(self, cap: int = 10, cap_each: int = 10, idle: float = 60) -> None:
        self.closed: list[str] = []
        self.sessions = Sessions(SessionQuota(cap, cap_each), idle, self._on_close)

    async def _on_close(self, agent: ConnectedAgent) -> None:
        self.closed.append(agent.id)


class Stream:
    """A connection that nobody reads."""

    def __init__(self) -> None:
        self.ended = False

    def push(self, data: bytes, *, must: bool = False) -> None: ...

    def end(self) -> None:
        self.ended = True


async def test_a_session_is_found_by_whoever_it_belongs_to() -> None:
    book = Book()
    one = session(ALICE, "up")
    book.sessions.add(one)
    assert book.sessions.get(one.agent.id, ALICE, "up") is one
    for id, principal, view in (
        (one.agent.id, BOB, "up"),
        (one.agent.id, ANONYMOUS, "up"),
        (one.agent.id, ALICE, None),
        (one.agent.id, ALICE, "down"),
        ("", ALICE, "up"),
    ):
        with pytest.raises(SessionNotFound):
            book.sessions.get(id, principal, view)


async def test_ids_are_long_and_never_the_same() -> None:
    ids = {session().agent.id for _ in range(1000)}
    assert len(ids) == 1000
    assert min(map(len, ids)) >= 22


def call(id: int | str = 1) -> Call:
    return Call(id, "tools/call", {}, session().agent, lambda method, params: None)


async def test_there_is_a_cap_for_all_and_one_for_each() -> None:
    book = Book(cap=3, cap_each=2)
    for principal in (ALICE, ALICE, BOB):
        book.sessions.add(session(principal))
    with pytest.raises(TooManySessions):
        book.sessions.add(session(BOB))
    roomy = Book(cap=10, cap_each=2)
    for _ in range(2):
        roomy.sessions.add(session(ALICE))
    with pytest.raises(TooManySessions):
        roomy.sessions.add(session(ALICE))
    roomy.sessions.add(session(BOB))
    assert len(roomy.sessions) == 3


async def test_a_closed_session_is_gone_and_told_of_once() -> None:
    book = Book(cap=1)
    one, stream = session(), Stream()
    book.sessions.add(one)
    one.streams.standing.attach(stream, prime=False)
    one.begin(under_way := call())
    for _ in range(2):
        await book.sessions.close(one)
    assert book.closed == [one.agent.id]
    assert stream.ended
    assert under_way.is_cancelled
    with pytest.raises(SessionNotFound):
        book.sessions.get(one.agent.id, ALICE, None)
    book.sessions.add(session())


async def test_the_sessions_of_those_no_longer_good_are_closed() -> None:
    book = Book()
    all_of_them = [session(principal) for principal in (ALICE, BOB, ALICE)]
    for one in all_of_them:
        book.sessions.add(one)
    await book.sessions.close_those_of({ALICE.id, "nobody"})
    assert book.closed == [all_of_them[0].agent.id, all_of_them[2].agent.id]
    assert len(book.sessions) == 1


async def test_only_idle_sessions_are_swept() -> None:
    book = Book(idle=0.05)
    idle, streaming, calling = session(), session(), session()
    streaming.streams.standing.attach(stream := Stream(), prime=False)
    calling.begin(under_way := call())
    for one in (idle, streaming, calling):
        book.sessions.add(one)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(book.sessions.sweep)
        await wait_until(lambda: book.closed == [idle.agent.id])
        streaming.streams.standing.detach(stream)
        calling.end(under_way)
        await wait_until(lambda: len(book.closed) == 3)
        tasks.cancel_scope.cancel()


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
