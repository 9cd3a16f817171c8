"""Messages that are written in one turn of the loop leave together: one system call for all of them, and whoever reads
them is woken once."""

import asyncio
from typing import Final

FEW: Final = 8
"""With fewer requests in flight than that, a message rarely has company that would be worth waiting for."""
MOST: Final = 64 * 1024
"""Bytes that leave together."""


class CoalescingWriter:
    """Writes messages to a transport, in their order.

    Args:
        max_unread: bytes that may wait to be read by the other side.
    """

    __slots__ = ("_loop", "_max_unread", "_size", "_transport", "_waiting")

    def __init__(self, transport: asyncio.WriteTransport, max_unread: int) -> None:
        self._transport = transport
        self._max_unread = max_unread
        self._loop = asyncio.get_running_loop()
        self._waiting: list[bytes] = []
        """What leaves at the end of this turn."""
        self._size = 0
        """Bytes of that."""

    def write(self, data: bytes, in_flight: int = 0) -> bool:
        """Write one message. False, if the other side has gone, or has stopped reading.

        Args:
            in_flight: requests; the more there are, the likelier is another message in this turn.
        """
        waiting = self._waiting
        if waiting:
            if self._size + len(data) <= MOST:
                waiting.append(data)
                self._size += len(data)
                return True
            self.flush()
        if self._transport.is_closing() or self._transport.get_write_buffer_size() > self._max_unread:
            return False
        if in_flight < FEW or len(data) > MOST:
            self._transport.write(data)
        else:
            waiting.append(data)
            self._size = len(data)
            self._loop.call_soon(self.flush)
        return True

    def flush(self) -> None:
        """Write what waits for the end of the turn."""
        waiting = self._waiting
        if waiting:
            data = waiting[0] if len(waiting) == 1 else b"".join(waiting)
            waiting.clear()
            self._size = 0
            if not self._transport.is_closing():
                self._transport.write(data)

    def close(self) -> None:
        """Close the transport, once everything has left."""
        self.flush()
        self._transport.close()
