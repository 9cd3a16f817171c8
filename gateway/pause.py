"""Long work on the event loop, in short steps: between two of them, whatever else is due gets its turn."""

from collections.abc import Callable
from time import perf_counter
from typing import Final

from anyio.lowlevel import checkpoint

STEP_SECONDS: Final = 0.005
"""How long work may go on before others get their turn."""


class Pause:
    """Made where the work begins.

    Args:
        clock: seconds.
    """

    def __init__(self, clock: Callable[[], float] = perf_counter) -> None:
        self._clock = clock
        self._since = clock()

    async def if_due(self) -> None:
        """Let others run, if this has gone on for long enough."""
        if self._clock() - self._since >= STEP_SECONDS:
            await checkpoint()
            self._since = self._clock()
