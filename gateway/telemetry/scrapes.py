"""Who asks for the metrics: they are rendered for whoever waits, and at most once a second whoever asks."""

from collections.abc import Awaitable, Callable
from typing import Final, Literal

import anyio

SECONDS: Final = 1.0
"""How long after one rendering the next begins, at the earliest."""

Form = Literal["text", "openmetrics"]


class Scrapes:
    """Shares what is rendered between all who wait for it. None gets what was rendered before it asked.

    Args:
        render: with or without upstreams' names, in one of two forms.
    """

    def __init__(self, render: Callable[[bool, Form], Awaitable[bytes]], seconds: float = SECONDS) -> None:
        self._render = render
        self._seconds = seconds
        self._lock = anyio.Lock()
        self._last = float("-inf")
        self._rendered: dict[tuple[bool, Form], tuple[float, bytes]] = {}
        """With names or without, and the form → when that began, and what came of it."""

    async def get(self, names: bool, form: Form = "text") -> bytes:
        asked = anyio.current_time()
        async with self._lock:
            at, text = self._rendered.get((names, form), (float("-inf"), b""))
            if at < asked:
                await anyio.sleep(max(0.0, self._last + self._seconds - anyio.current_time()))
                at = self._last = anyio.current_time()
                text = await self._render(names, form)
                self._rendered[names, form] = at, text
            return text
