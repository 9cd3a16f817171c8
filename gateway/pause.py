"""Long work on the event loop, in short steps: between two of them, whatever else is due gets its turn."""

from collections.abc import Callable
from time import perf_counter
from typing import Final

import anyio
from anyio.lowlevel import checkpoint

STEP_SECONDS: Final = 0.005
"""How long work may go on before others get their turn."""


class Pause:
    """Made where the work begins.

    Args:
        clock: seconds.
        turn: what all works of a kind share: between two rounds of the loop only one of them goes on, or many would
            take as many steps at a time.
    """

    def __init__(self, clock: Callable[[], float] = perf_counter, turn: anyio.Lock | None = None) -> None:
        self._clock = clock
        self._turn = turn if turn is not None else anyio.Lock()
        self._since = clock() if turn is None else float("-inf")

    async def if_due(self) -> None:
        """Let others run, if this has gone on for long enough."""
        if self._clock() - self._since >= STEP_SECONDS:
            async with self._turn:
                await checkpoint()
            self._since = self._clock()
