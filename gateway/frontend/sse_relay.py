"""Messages of the legacy transport that arrive at another node than the one that has their stream."""

from collections.abc import Callable
from typing import Final, cast

from gateway import jsonrpc
from gateway.errors import PayloadTooLarge
from gateway.jsonrpc import Message
from gateway.store.shared import MAX_MESSAGE, Store

TOPIC: Final = "sse"
_ROOM: Final = 4096
"""Bytes that a message between nodes needs besides the agent's own."""

Take = Callable[[str, str, bytes], None]
"""`(connection, id of the principal, encoded message)`. Must not block, and not raise."""


class SseRelay:
    """
    Args:
        take: takes what another node has been sent for a connection of this one's.
    """

    def __init__(self, store: Store, take: Take) -> None:
        self._store = store
        self._take = take
        store.on_message(TOPIC, self._hear)

    def named(self, connection: str) -> str:
        """As all nodes know it."""
        return f"{connection}.{self._store.node}"

    async def pass_on(self, connection: str, principal: str, message: Message) -> bool:
        """False where no other node is there that has it.

        Raises:
            StoreUnavailable: that cannot be found out now.
            PayloadTooLarge: it is too large to be passed on.
        """
        node = connection.rpartition(".")[2]
        if "." not in connection or node == self._store.node:
            return False
        data = jsonrpc.dumps([connection, principal]) + b"\n" + jsonrpc.dumps(message)
        if len(data) > MAX_MESSAGE - _ROOM:
            raise PayloadTooLarge(MAX_MESSAGE - _ROOM)
        return await self._store.send(TOPIC, data, node)

    def _hear(self, sender: str, data: bytes) -> None:
        head, _, message = data.partition(b"\n")
        connection, principal = cast("tuple[str, str]", jsonrpc.loads(head))
        self._take(connection, principal, message)
