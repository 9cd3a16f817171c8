"""The calls that are being answered, whatever front they came by, and their end when the gateway stops or a credential
is revoked."""

import asyncio
import math
from collections.abc import Collection
from typing import Final

import anyio
import structlog

from gateway.call import Call
from gateway.errors import Stopping, Unauthenticated

log = structlog.stdlib.get_logger("gateway.frontend")

LAST_WORD_SECONDS: Final = 2.0
"""How long a request that was cut off may take to say so."""


class Drain:
    """All calls. `enter` and `leave` are told of each; `wait` is called by a stop."""

    def __init__(self) -> None:
        self._calls: set[Call] = set()
        self._latest = math.inf
        self._idle: anyio.Event | None = None
        """There while somebody waits for the last."""

    def __len__(self) -> int:
        return len(self._calls)

    def enter(self, call: Call) -> None:
        """It is being answered, by the task that says so.

        Raises:
            GatewayError: it was interrupted already.
        """
        call.begin()
        self._calls.add(call)
        if self._latest < math.inf:
            asyncio.get_running_loop().call_at(self._latest, call.interrupt, Stopping())

    def leave(self, call: Call) -> None:
        call.task = None
        self._calls.discard(call)
        if self._idle is not None and not self._calls:
            self._idle.set()

    def end_those_of(self, principals: Collection[str]) -> None:
        """End the calls of principals (ids) that are no longer good, and of their agents. Those of a session end
        with it."""
        for call in [call for call in self._calls if not call.agent.lasting and call.principal.is_one_of(principals)]:
            call.interrupt(Unauthenticated("The credential was revoked while this was under way."))

    async def wait(self, patience: float) -> None:
        """Wait until nothing is in flight. What still is after `patience` seconds is cancelled, and answered so; what
        comes later, when this has returned, has no longer either."""
        self._latest = asyncio.get_running_loop().time() + patience
        with anyio.move_on_after(patience):
            await self._until_idle()
        if self._calls:
            log.warning("requests cut off", requests=len(self._calls), setting="drain_timeout")
            for call in list(self._calls):
                call.interrupt(Stopping())
            with anyio.move_on_after(LAST_WORD_SECONDS):
                await self._until_idle()

    async def _until_idle(self) -> None:
        while self._calls:
            self._idle = anyio.Event()
            await self._idle.wait()
        self._idle = None
