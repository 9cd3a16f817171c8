"""What must be known of handshake-era sessions that are not open here: which have ended, and what changed since their
ids were sealed."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class SessionName:
    """Whose record it is."""

    key: str
    principal: str
    """Its id, as the session's opener has it."""
    root: str
    """Whoever that principal descends from, or is: what is kept is counted for them."""
    issued: float
    """Seconds since 1970, as the next."""
    expires: float
    """When the session's id opens nothing any more, and so nothing need be known of it."""


class SessionRecords(Protocol):
    """Kept until the ids expire. Bounded for each root principal."""

    async def read(self, session: SessionName) -> Mapping[str, str] | None:
        """What was noted of it; None if it has ended, or that cannot be found out."""
        ...

    async def note(self, session: SessionName, changes: Mapping[str, str | None]) -> None:
        """Note facts by name; None forgets one. Where that is not possible the log says so."""
        ...

    async def end(self, session: SessionName) -> None:
        """It has ended, on every node."""
        ...

    async def end_those_of(self, principals: Collection[str], lifetime: float) -> None:
        """All have ended that principals (ids), and those who descend from them, have opened until now.

        Args:
            lifetime: of an id, in seconds.
        """
        ...

    async def follow(self) -> Collection[str]:
        """The keys of sessions that ended elsewhere since it was asked last. To be called about once a second."""
        ...

    async def aclose(self) -> None: ...
