"""Which tasks each principal has (2025-11-25), for `tasks/list`: upstreams know of everybody's, or of none.

They are kept with the records of sessions, so that they outlive this process and are known at all nodes.
"""

import hashlib
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Final, Protocol

from gateway.errors import StoreUnavailable
from gateway.request import Principal
from gateway.store.sessions import SessionName

MAX_LISTED: Final = 1_000
"""Tasks of one principal; the oldest goes first."""
MAX_LISTED_BYTES: Final = 256 * 1024
"""Of the handles of one principal's; they stand beside what is noted of its sessions, and must not push that out."""
LISTED_SECONDS: Final = 7 * 86_400.0
"""How long a task is listed after it was made. Its handle is good for longer."""


class TaskRecords(Protocol):
    """Of `SessionRecords`, what is needed."""

    async def read(self, session: SessionName) -> Mapping[str, str] | None: ...

    async def note(self, session: SessionName, changes: Mapping[str, str | None]) -> None: ...


class RemembersTasks:
    """`TaskRecords` that end with this process, for the one agent of a stdio front."""

    def __init__(self) -> None:
        self._facts: dict[str, dict[str, str]] = {}

    async def read(self, session: SessionName) -> Mapping[str, str] | None:
        return self._facts.get(session.key)

    async def note(self, session: SessionName, changes: Mapping[str, str | None]) -> None:
        facts = {**self._facts.get(session.key, {}), **changes}
        self._facts[session.key] = {name: value for name, value in facts.items() if value is not None}


class TaskList:
    """
    Args:
        clock: seconds since 1970.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self.records: TaskRecords = RemembersTasks()
        self.is_shared = False
        """Whether other nodes list them, too: their servers may know of a task that is not known here."""
        self._clock = clock

    def use(self, records: TaskRecords, *, shared: bool) -> None:
        self.records, self.is_shared = records, shared

    async def add(self, principal: Principal, handle: str) -> None:
        """It has a task of that public handle. Where that cannot be kept, the task is not listed."""
        with suppress(StoreUnavailable):
            listed = await self.of(principal)
            gone: dict[str, str | None] = dict.fromkeys(listed[: _too_many([*listed, handle])])
            await self.records.note(self._name(principal), {**gone, handle: repr(self._clock())})

    async def of(self, principal: Principal) -> list[str]:
        """The public handles of its tasks, the oldest first.

        Raises:
            StoreUnavailable: it cannot be found out.
        """
        facts = await self.records.read(self._name(principal)) or {}
        made = {handle: float(at) for handle, at in facts.items()}
        since = self._clock() - LISTED_SECONDS
        return sorted((handle for handle in made if made[handle] > since), key=lambda handle: (made[handle], handle))

    async def drop(self, principal: Principal, handles: list[str]) -> None:
        """There are no such tasks any more."""
        with suppress(StoreUnavailable):
            await self.records.note(self._name(principal), dict.fromkeys(handles))

    def _name(self, principal: Principal) -> SessionName:
        key = "tasks-" + hashlib.sha256(principal.id.encode()).hexdigest()[:32]
        now = self._clock()
        return SessionName(key, principal.id, principal.root_id, now, now + LISTED_SECONDS)


def _too_many(handles: list[str]) -> int:
    """How many of the oldest there is no room for."""
    count, size = max(len(handles) - MAX_LISTED, 0), sum(map(len, handles))
    size -= sum(map(len, handles[:count]))
    while size > MAX_LISTED_BYTES:
        size -= len(handles[count])
        count += 1
    return count
