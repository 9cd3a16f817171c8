"""Reads the secrets of a configuration again when a server no longer accepts them, at most once a minute."""

from collections.abc import Awaitable, Callable
from typing import Final

import anyio
import structlog

from gateway.config.reload import Current

log = structlog.stdlib.get_logger("gateway.config")

PAUSE: Final = 60.0
"""Seconds from one reading to the next: a server that accepts none of our secrets must not have commands run for ever
and ever in a tight loop."""


class SecretRefresher:
    """
    Args:
        current: says which servers have secrets that may be others by now.
        reload: reads the configuration again, and brings about what has changed.
        pause: seconds between two readings.
    """

    def __init__(self, current: Current, reload: Callable[[], Awaitable[None]], pause: float = PAUSE) -> None:
        self._current = current
        self._reload = reload
        self._pause = pause
        self._refused = anyio.Event()
        self._by: set[str] = set()

    def on_unauthorized(self, server: str) -> None:
        """That server says that what it was sent is not good."""
        if server in self._current.config.refreshable:
            self._by.add(server)
            self._refused.set()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._refused.wait()
            servers = sorted(self._by)
            self._by, self._refused = set(), anyio.Event()
            log.info("secrets are read again, for they were refused", upstreams=servers)
            await self._reload()
            await anyio.sleep(self._pause)
