"""Telling very many of something, in short steps between which others get their turn."""

from collections.abc import Callable, Hashable, Iterator
from itertools import islice
from typing import Final

import anyio

from gateway.pause import Pause

AT_ONCE: Final = 100
"""How many are told at once; the rest, a little later."""

Steps = Callable[[], Iterator[None]]
"""Begins to tell; each step tells one."""


class Telling:
    """What is to be told again while it is being told is told once more afterwards, so that everybody's turn comes."""

    def __init__(self) -> None:
        self._rest: dict[Hashable, Iterator[None]] = {}
        self._again: dict[Hashable, Steps] = {}
        self._due = anyio.Event()

    def tell(self, what: Hashable, steps: Steps) -> None:
        """
        Args:
            what: equal ones say the same.
        """
        if what in self._rest:
            self._again[what] = steps
            return
        rest = steps()
        if sum(1 for _ in islice(rest, AT_ONCE)) == AT_ONCE:
            self._rest[what] = rest
            self._due.set()

    async def run(self) -> None:
        """Tell the rest, until cancelled."""
        while True:
            await self._due.wait()
            self._due = anyio.Event()
            pause = Pause()
            while self._rest:
                what, rest = next(iter(self._rest.items()))
                for _ in rest:
                    await pause.if_due()
                del self._rest[what]
                if (again := self._again.pop(what, None)) is not None:
                    self._rest[what] = again()
