"""The requests that are being answered, whatever front they came by, and their end when the gateway stops."""

import math
from collections.abc import Awaitable, Callable
from typing import Any, Final

import anyio
import structlog

from gateway.errors import Stopping
from gateway.request import Request

log = structlog.stdlib.get_logger("gateway.frontend")

Handler = Callable[[Request], Awaitable[dict[str, Any]]]

LAST_WORD_SECONDS: Final = 2.0
"""How long a request that was cut off may take to say so."""


class Drain:
    """A layer around all others, and `wait`, which a stop calls."""

    def __init__(self) -> None:
        self._scopes: set[anyio.CancelScope] = set()
        self._latest = math.inf
        self._idle = anyio.Event()

    def __len__(self) -> int:
        return len(self._scopes)

    def layer(self, following: Handler) -> Handler:
        """
        Raises:
            Stopping: the gateway could not wait for the request any longer.
        """

        async def handle(request: Request) -> dict[str, Any]:
            scope = anyio.CancelScope(deadline=self._latest)
            self._scopes.add(scope)
            try:
                with scope:
                    return await following(request)
            finally:
                self._scopes.remove(scope)
                if not self._scopes:
                    self._idle.set()
            raise Stopping

        return handle

    async def wait(self, patience: float) -> None:
        """Wait until nothing is in flight. What still is after `patience` seconds is cancelled, and answered so; what
        comes later, when this has returned, has no longer either."""
        self._latest = anyio.current_time() + patience
        with anyio.move_on_after(patience):
            await self._until_idle()
        if self._scopes:
            log.warning("requests cut off", requests=len(self._scopes), setting="drain_timeout")
            for scope in self._scopes:
                scope.cancel()
            with anyio.move_on_after(LAST_WORD_SECONDS):
                await self._until_idle()

    async def _until_idle(self) -> None:
        while self._scopes:
            self._idle = anyio.Event()
            await self._idle.wait()
