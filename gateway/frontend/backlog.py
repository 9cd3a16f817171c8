"""How many bytes may wait for agents to read them: on one stream, for one principal, and in all. Pure bookkeeping.

A reader that is slow loses notifications first, then its stream; never does the gateway keep more for it. Agents with
tokens of their own count for whoever is behind them. Who is nobody yet (on a public page) shares one small account.
"""

from collections import Counter
from typing import Final

from gateway.config.models import GatewaySettings
from gateway.request import ANONYMOUS, Principal

STRANGERS: Final = ""
"""The owner of what waits for those who have not said who they are."""


class Backlogs:
    """What waits everywhere.

    Args:
        cap: bytes in all.
        cap_each: bytes of one principal's.
        cap_stream: bytes of one stream's.
    """

    def __init__(self, cap: int = 256 << 20, cap_each: int = 64 << 20, cap_stream: int = 8 << 20) -> None:
        self.cap = cap
        self.cap_stream = cap_stream
        self._cap_each = cap_each
        self.total = 0
        self.lost = 0
        """Streams that were ended because their readers were too slow."""
        self.streams = 0
        """Event streams that are open."""
        self.of = Counter[str]()

    def open(self, principal: Principal | None = None) -> "Backlog":
        """The backlog of one stream."""
        return Backlog(self, owner_of(principal))

    def cap_of(self, owner: str) -> int:
        if owner == ANONYMOUS.id:
            return self.cap  # without authentication there is nobody to protect from anybody
        return min(self._cap_each, self.cap_stream) if owner == STRANGERS else self._cap_each


class Backlog:
    """What waits on one stream."""

    __slots__ = ("_all", "_owner", "size")

    def __init__(self, everywhere: Backlogs, owner: str) -> None:
        self._all = everywhere
        self._owner = owner
        self.size = 0

    def belongs_to(self, principal: Principal | None) -> None:
        """From now on it is this principal's."""
        size = self.size
        if size:
            self.remove(size)
        self._owner = owner_of(principal)
        if size:
            self.add(size)

    def has_room(self, size: int, *, must: bool = False) -> bool:
        """Whether so many bytes more may wait. What is alone may, however large it is: it was let in as one message.
        With `must` (an answer) the stream may have one message more than its cap."""
        everywhere = self._all
        stream, each = self.size, everywhere.of[self._owner]
        return (
            (not stream or (stream if must else stream + size) <= everywhere.cap_stream)
            and (not each or each + size <= everywhere.cap_of(self._owner))
            and (not everywhere.total or everywhere.total + size <= everywhere.cap)
        )

    def add(self, size: int) -> None:
        self.size += size
        self._all.total += size
        self._all.of[self._owner] += size

    def remove(self, size: int) -> None:
        self.size -= size
        self._all.total -= size
        self._all.of[self._owner] -= size
        if not self._all.of[self._owner]:
            del self._all.of[self._owner]

    def resize(self, size: int) -> None:
        self.remove(self.size - size)

    def clear(self) -> None:
        """Nothing waits any more."""
        self.remove(self.size)

    def stream_opened(self) -> None:
        self._all.streams += 1

    def stream_closed(self) -> None:
        self._all.streams -= 1

    def lose(self) -> None:
        """Nothing waits any more, because the stream was ended for it."""
        self._all.lost += 1
        self.clear()


def backlogs_of(settings: GatewaySettings) -> Backlogs:
    return Backlogs(settings.max_backlog, settings.max_backlog_per_principal, settings.max_backlog_per_stream)


def owner_of(principal: Principal | None) -> str:
    return STRANGERS if principal is None else principal.root_id
