"""A client that is slower to read than we are to write: what waits for it is counted, and given up if it stops."""

import asyncio
import math
from collections.abc import Callable
from typing import Final

from gateway.frontend.backlog import Backlog

STALL_SECONDS: Final = 30.0
"""How long a client may take to read `STALL_BYTES` of what was written to it."""
STALL_BYTES: Final = 64 * 1024


def _nothing() -> None:
    """There is no connection any more."""


class SlowReader:
    """
    Args:
        backlog: counts what is not read.
        abort: ends the connection.
    """

    __slots__ = ("_abort", "_loop", "_timer", "_transport", "backlog")

    def __init__(
        self,
        transport: asyncio.Transport,
        backlog: Backlog,
        loop: asyncio.AbstractEventLoop,
        abort: Callable[[], None],
    ) -> None:
        self._transport = transport
        self.backlog = backlog
        self._loop = loop
        self._abort = abort
        self._timer: asyncio.TimerHandle | None = None

    def fall_behind(self) -> None:
        """What it has yet to read is counted from here on."""
        unread = self._transport.get_write_buffer_size()
        if self.backlog.has_room(unread, must=True):
            self.backlog.add(unread)
            self.watch()
        else:
            self.backlog.lose()
            self._abort()

    def catch_up(self) -> None:
        """It has read."""
        self.backlog.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def leave(self) -> None:
        """It has left."""
        self.catch_up()
        self._abort = _nothing

    def watch(self, before: float = math.inf) -> None:
        """See to it that it reads, of what was there before."""
        if self._timer is None:
            self._timer = self._loop.call_later(STALL_SECONDS, self._on_timer, before)

    def _on_timer(self, before: float) -> None:
        self._timer = None
        unread = self._transport.get_write_buffer_size()
        if unread > before - STALL_BYTES:
            self._abort()
        else:
            self.watch(unread)
