"""Tokens, and the interface of what obtains them without asking anybody anything."""

import random
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Final, Protocol

EARLY: Final = (0.1, 0.2)
"""The last part of a token's life, in which it is renewed; between these, by chance, so that not all come at once."""
MAX_EARLY: Final = 300.0
"""Seconds; no token is renewed earlier before its end than that."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """What was granted. Times are seconds since 1970."""

    access: str = field(repr=False)
    expires: float | None = None
    """When the access token is not good any more; None if nobody said."""
    scopes: tuple[str, ...] = ()
    """Those granted, as far as is known."""
    renew_at: float = float("inf")
    """When to renew it."""

    @property
    def headers(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.access}"}

    def is_good(self, now: float) -> bool:
        return self.expires is None or now < self.expires


def renewal(now: float, lifetime: float | None) -> float:
    """When to renew a token that is good for so many seconds from now; never, if nobody said for how long."""
    if lifetime is None:
        return float("inf")
    part = EARLY[0] + (EARLY[1] - EARLY[0]) * random.random()  # noqa: S311
    return now + lifetime - min(lifetime * part, MAX_EARLY)


class TokenGrant(Protocol):
    """How tokens are had for one principal at one server. Called by one at a time."""

    async def known(self) -> Tokens | None:
        """What is at hand already, without asking an authorization server: a login that somebody made. Cheap."""
        ...

    async def obtain(self, refused: Tokens | None, scopes: Collection[str], header: str) -> Tokens | None:
        """Fresh tokens; None if no tokens would change that the server refuses: its refusal is passed on then.

        Args:
            refused: those that the server has just refused, or that are about to end; not to be returned.
            scopes: what has to be granted at least, as far as the server said.
            header: the `WWW-Authenticate` of the refusal, if it was one.

        Raises:
            NoLogin: somebody has to log in.
            Denied: the authorization server said no.
            Unreachable: nobody knows. What was granted may still be good.
            Distrusted: what it says must not be followed.
        """
        ...
