"""Conversations between nodes: in order, whole, over when either says so, and lost when a node is gone."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
import pytest

from gateway.store import conversations
from gateway.store.conversations import CHUNK, Conversation, Conversations
from gateway.store.memory import Memory, MemoryStore
from tests.support import wait_until

pytestmark = pytest.mark.anyio


class Side:
    """One node, and what it hears."""

    def __init__(self, memory: Memory, beat_seconds: float) -> None:
        self.store = MemoryStore(memory)
        self.all = Conversations(self.store, beat_seconds)
        self.all.serve("echo", self._begin)
        self.heard: list[bytes] = []
        self.ended: list[bool] = []
        self.begun: list[Conversation] = []

    def attend(self, conversation: Conversation) -> Conversation:
        conversation.on_message, conversation.on_end = self.heard.append, self.ended.append
        self.begun.append(conversation)
        return conversation

    def _begin(self, conversation: Conversation) -> None:
        self.attend(conversation)


@asynccontextmanager
async def sides(beat_seconds: float = conversations.BEAT_SECONDS) -> AsyncGenerator[tuple[Side, Side]]:
    memory = Memory()
    one, other = Side(memory, beat_seconds), Side(memory, beat_seconds)
    async with anyio.create_task_group() as tg:
        for side in (one, other):
            tg.start_soon(side.all.run)
        yield one, other
        tg.cancel_scope.cancel()


async def test_both_say_what_they_like_in_order_until_one_ends_it() -> None:
    async with sides() as (one, other):
        mine = one.attend(one.all.begin(other.store.node, "echo"))
        large = bytes(range(256)) * (2 * CHUNK // 256) + b"rest"
        for data in (b"1", b"", large, b"2"):
            mine.say(data)
        assert other.heard == [b"1", b"", large, b"2"]
        (theirs,) = other.begun
        theirs.say(b"3")
        theirs.end()
        theirs.say(b"too late")
        mine.say(b"too late")
        assert (one.heard, one.ended) == ([b"3"], [False])
        assert (other.ended, len(one.all), len(other.all)) == ([], 0, 0)


async def test_conversations_do_not_mix() -> None:
    async with sides() as (one, other):
        first, second = (one.all.begin(other.store.node, "echo") for _ in range(2))
        first.say(b"1")
        second.end()
        first.say(b"2")
        assert (other.heard, other.ended) == ([b"1", b"2"], [False])


async def test_what_is_lost_on_the_way_loses_the_conversation_on_both_sides() -> None:
    async with sides() as (one, other):
        mine = one.attend(one.all.begin(other.store.node, "echo"))
        mine.say(b"1")
        mine.sent += 1  # as if a message had not arrived
        mine.say(b"3")
        assert (other.heard, other.ended, one.ended) == ([b"1"], [True], [True])
        assert len(one.all) == len(other.all) == 0


async def test_who_is_gone_is_missed() -> None:
    async with sides(0.01) as (one, other):
        one.attend(one.all.begin(other.store.node, "echo"))
        assert await one.all.is_there(other.store.node)
        del one.store._memory.stores[other.store.node]  # pyright: ignore[reportPrivateUsage]
        assert not await one.all.is_there(other.store.node)
        await wait_until(lambda: one.ended == [True])


async def test_what_is_too_large_loses_it_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversations, "MAX_BYTES", 10)
    async with sides() as (one, other):
        mine = one.attend(one.all.begin(other.store.node, "echo"))
        mine.say(b"x" * 11)
        assert (other.heard, other.ended, one.ended) == ([], [True], [True])
