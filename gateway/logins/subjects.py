"""On whose behalf a server can be asked: the access token that each principal came with last, as long as it is good.

Nothing but a token that `access` has validated a moment ago ever gets here, and only where a server's `auth` exchanges
them. They go to the authorization server that exchanges them, and nowhere else.
"""

import time
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Final

from gateway.request import Principal

MOST: Final = 10_000
"""Principals whose token is kept; who was longest not here anew is forgotten first, and known again with their next
request."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A principal's token."""

    token: str = field(repr=False)
    until: float
    """Until when it is accepted here, in seconds since 1970."""


class Subjects:
    def __init__(self) -> None:
        self.wanted = False
        """Whether anybody needs them."""
        self._by_id: dict[str, Subject] = {}

    def note(self, principal: Principal, token: str) -> None:
        """A principal came with a token, which is good. Called with every such request."""
        if not self.wanted:
            return
        known = self._by_id.get(principal.id)
        if known is not None and known.token == token:
            return
        self._by_id.pop(principal.id, None)
        until = float("inf") if principal.expires is None else principal.expires + principal.leeway
        self._by_id[principal.id] = Subject(token, until)
        if len(self._by_id) > MOST:
            del self._by_id[next(iter(self._by_id))]

    def of(self, principal: str) -> Subject | None:
        """The token of a principal (its id); None if there is none that is good."""
        subject = self._by_id.get(principal)
        if subject is not None and subject.until <= time.time():
            del self._by_id[principal]
            return None
        return subject

    def forget(self, principals: Collection[str]) -> None:
        """They are no longer let in."""
        for principal in principals:
            self._by_id.pop(principal, None)
