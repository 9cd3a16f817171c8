"""Who has said nothing to its client for a while has to: a proxy on the way takes a silent connection for a dead one.

One timer for all of them. Each is heard from after the same time, so that they stand in the order of their turns.
"""

import asyncio
from typing import Protocol


class Quiet(Protocol):
    """Something that speaks to a client."""

    def on_silence(self) -> None:
        """It has been silent for long. It is watched no further, unless it asks for it."""
        ...


class Silence:
    """
    Args:
        seconds: how long is long.
    """

    def __init__(self, seconds: float, loop: asyncio.AbstractEventLoop | None = None) -> None:
        self._seconds = seconds
        self._loop = loop or asyncio.get_running_loop()
        self._now = self._loop.time
        self._due: dict[Quiet, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, who: Quiet) -> None:
        """It is new, and begins to be silent."""
        self._due[who] = due = self._now() + self._seconds
        if self._timer is None:
            self._timer = self._loop.call_at(due, self._on_timer)

    def watch(self, who: Quiet) -> None:
        """It spoke just now, or begins to be silent."""
        self._due.pop(who, None)
        self.begin(who)

    def forget(self, who: Quiet) -> None:
        self._due.pop(who, None)

    def _on_timer(self) -> None:
        now = self._loop.time()
        for who, due in list(self._due.items()):
            if due > now:
                break
            del self._due[who]
            who.on_silence()
        self._timer = self._loop.call_at(next(iter(self._due.values())), self._on_timer) if self._due else None
