"""When to take on nothing new: the event loop is behind for good, or memory is nearly used up.

A burst makes the loop late once; only a queue that stands makes it late every time it is looked at. So it is the least
lateness of the last few looks that counts, as in CoDel (RFC 8289), and one good look ends it.
"""

import os
import sys
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Final

import anyio
import structlog

from gateway.errors import Overloaded
from gateway.telemetry.cells import Histogram

log = structlog.stdlib.get_logger("gateway.frontend")

LOOK_SECONDS: Final = 0.1
LOOKS: Final = 4


class Overload:
    """
    Args:
        max_lag: seconds.
        max_memory: bytes, or None.
        observe: `(limit, allowed)`, told of refusals.
    """

    def __init__(self, max_lag: float, max_memory: int | None, observe: Callable[[str, bool], None]) -> None:
        self._max_lag = max_lag
        self._max_memory = max_memory
        self._observe = observe
        self._lags = deque([0.0], LOOKS)
        self.lag = Histogram()
        """How late the loop ever was, in seconds."""
        self.reason: tuple[str, str] | None = None
        """Why nothing is taken on, and the setting that says so."""

    def look(self, lag: float, memory: int) -> None:
        """Decide anew.

        Args:
            lag: how late the loop was just now, in seconds.
            memory: bytes in use; 0 if that is not known.
        """
        self._lags.append(lag)
        self.lag.observe(lag)
        before, self.reason = self.reason, self._judge(memory)
        if (before is None) is not (self.reason is None):
            log.warning("overloaded" if self.reason else "no longer overloaded", lag=round(lag, 3), memory=memory)

    def _judge(self, memory: int) -> tuple[str, str] | None:
        if self._max_memory is not None and memory > self._max_memory:
            return (f"{memory >> 20} MiB of memory are in use", "max_memory")
        lag = min(self._lags)
        if lag > self._max_lag:
            return (f"it is {lag:.1f} s behind with its work", "max_lag")
        return None

    def check(self) -> None:
        """
        Raises:
            Overloaded: nothing new is taken on for the moment.
        """
        if self.reason is not None:
            self._observe("overload", False)
            raise Overloaded(*self.reason)

    async def run(self) -> None:
        """Keep looking, for ever."""
        while True:
            before = anyio.current_time()
            await anyio.sleep(LOOK_SECONDS)
            lag = anyio.current_time() - before - LOOK_SECONDS
            self.look(lag, resident() if self._max_memory is not None else 0)


def resident() -> int:
    """The memory this process has in use, in bytes; 0 where the system does not say so."""
    if sys.platform != "linux":
        return 0
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
