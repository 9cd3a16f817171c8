"""Conversations between two nodes, over the messages of the store: in order, whole or over, and bounded.

What is said arrives in the order it was said in. Where a message was lost, or the other node is gone, the conversation
ends on this side, and whoever holds it learns that it was lost and not finished.
"""

import secrets
import struct
import time
from collections.abc import Callable
from typing import Final

import anyio

from gateway.errors import StoreUnavailable
from gateway.store.shared import SILENCE_SECONDS, Store

TOPIC: Final = "conversations"
BEAT_SECONDS: Final = 1.0
"""How often it is looked whether the other nodes are there."""
CHUNK: Final = 512 * 1024
"""Bytes that are said in one message of the store."""
MAX_BYTES: Final = 32 << 20
"""Of what is said at a time."""
MAX_CONVERSATIONS: Final = 10_000

_HEAD: Final = struct.Struct(">B12sI")
_OPEN, _WHOLE, _PART, _END, _LOST, _BEAT = range(6)


def _ignore(data: bytes) -> None: ...


def _ignore_end(lost: bool) -> None: ...


class Conversation:
    """One side of one. Made by `Conversations`."""

    def __init__(self, all: "Conversations", peer: str, id: bytes) -> None:
        self.peer = peer
        """The other node."""
        self.id = id
        self.on_message: Callable[[bytes], None] = _ignore
        self.on_end: Callable[[bool], None] = _ignore_end
        """Told once when the other side has ended it, or with True if it was lost. Not when this side ends it."""
        self.sent = 0
        self._all = all
        self._heard = 0
        self._parts: list[bytes] = []
        self._size = 0

    def say(self, data: bytes) -> None:
        """Never blocks. What cannot be said loses the conversation."""
        for start in range(0, max(1, len(data)), CHUNK):
            is_last = start + CHUNK >= len(data)
            self._all.tell(self, _WHOLE if is_last else _PART, data[start : start + CHUNK])

    def end(self) -> None:
        """What was said is all of it, and nothing is heard any more."""
        if self._all.forget(self):
            self._all.tell(self, _END)

    def hear(self, kind: int, number: int, data: bytes) -> None:
        """The other side says something."""
        self._size += len(data)
        if kind == _LOST:
            self._all.forget(self)
            self.on_end(True)
            return
        if number != self._heard or self._size > MAX_BYTES:
            self.lose()
            return
        self._heard += 1
        if kind == _END:
            self._all.forget(self)
            self.on_end(False)
            return
        self._parts.append(data)
        if kind == _WHOLE:
            whole, self._parts, self._size = b"".join(self._parts), [], 0
            self.on_message(whole)

    def lose(self) -> None:
        """It does not go on."""
        if self._all.forget(self):
            self._all.tell(self, _LOST)
            self.on_end(True)


class Conversations:
    """All of one node's. `run` must be running."""

    def __init__(self, store: Store, beat_seconds: float = BEAT_SECONDS) -> None:
        self._store = store
        self._beat_seconds = beat_seconds
        self._there: dict[tuple[str, bytes], Conversation] = {}
        self._kinds: dict[str, Callable[[Conversation], None]] = {}
        self._silent_since: float | None = None
        store.on_message(TOPIC, self._hear)

    def __len__(self) -> int:
        return len(self._there)

    def serve(self, kind: str, begin: Callable[[Conversation], None]) -> None:
        """Have `begin` called with each conversation that another node begins."""
        self._kinds[kind] = begin

    def begin(self, to: str, kind: str) -> Conversation:
        """With another node, whether it is there or not: see `Conversation.on_end`, which is to be set at once.

        Raises:
            StoreUnavailable: there are too many.
        """
        if len(self._there) >= MAX_CONVERSATIONS:
            raise StoreUnavailable("too much is passed on between nodes")
        conversation = Conversation(self, to, secrets.token_bytes(12))
        self._there[to, conversation.id] = conversation
        self.tell(conversation, _OPEN, kind.encode())
        return conversation

    async def is_there(self, node: str) -> bool:
        """
        Raises:
            StoreUnavailable: that cannot be found out.
        """
        return await self._store.send(TOPIC, _HEAD.pack(_BEAT, bytes(12), 0), node, patience=self._beat_seconds)

    async def run(self) -> None:
        """Notice who is gone, until cancelled."""
        while True:
            await anyio.sleep(self._beat_seconds)
            for peer in {peer for peer, _ in self._there}:
                if await self._is_gone(peer):
                    for each in [each for (other, _), each in list(self._there.items()) if other == peer]:
                        each.lose()

    async def _is_gone(self, peer: str) -> bool:
        try:
            is_there = await self.is_there(peer)
        except StoreUnavailable:
            self._silent_since = self._silent_since or time.monotonic()
            return time.monotonic() - self._silent_since > SILENCE_SECONDS
        self._silent_since = None
        return not is_there

    def tell(self, conversation: Conversation, kind: int, data: bytes = b"") -> None:
        head = _HEAD.pack(kind, conversation.id, conversation.sent)
        conversation.sent += kind != _OPEN
        self._store.tell(TOPIC, head + data, conversation.peer)

    def forget(self, conversation: Conversation) -> bool:
        return self._there.pop((conversation.peer, conversation.id), None) is not None

    def _hear(self, sender: str, message: bytes) -> None:
        kind, id, number = _HEAD.unpack_from(message)
        data = message[_HEAD.size :]
        if kind == _OPEN:
            begin = self._kinds.get(data.decode())
            if begin is not None and len(self._there) < MAX_CONVERSATIONS:
                conversation = self._there[sender, id] = Conversation(self, sender, id)
                begin(conversation)
        elif kind != _BEAT and (known := self._there.get((sender, id))) is not None:
            known.hear(kind, number, data)
