"""Whose a credential was a moment ago: one cache in front of all ways in.

It is keyed with the address that a credential came from, so that the limits on failures hold, and with the view that
was asked for, for which a token may be no good. Whoever learns that somebody has lost something forgets all of it.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from gateway.request import Principal

MAX_KNOWN: Final = 16_384

Key = tuple[bytes, str | None]
"""What stands for a credential from an address (`Failures.handle`), and the view."""


@dataclass(frozen=True, slots=True)
class Known:
    """Who came with a credential."""

    principal: Principal
    handle: bytes
    term: int
    """When it was looked at, as `KnownCredentials` counts."""
    until: float
    """When it must be looked at again, in seconds since 1970."""


class KnownCredentials:
    """
    Args:
        clock: seconds since 1970.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self.term = 0
        """How often all was forgotten."""
        self._clock = clock
        self._known: dict[Key, Known] = {}

    def find(self, key: Key) -> Known | None:
        known = self._known.get(key)
        return known if known is not None and self.holds(known) else None

    def holds(self, known: Known) -> bool:
        """Whether nothing has changed since, and it is not due."""
        return known.term == self.term and self._clock() < known.until

    def keep(self, key: Key, principal: Principal, term: int, seconds: float) -> None:
        """
        Args:
            term: what `term` was before it was looked at.
            seconds: for how long that is good, if the credential does not expire before.
        """
        until = self._clock() + seconds
        if principal.expires is not None:
            until = min(until, principal.expires + principal.leeway)
        if len(self._known) >= MAX_KNOWN:
            self._known.clear()
        self._known[key] = Known(principal, key[0], term, until)

    def forget(self) -> None:
        """Somebody may be less than they were."""
        self.term += 1
        self._known.clear()
