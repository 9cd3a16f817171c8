"""Who sent an HTTP request: the first credential it carries decides; a bad one is an error, not a fall-through."""

from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar, Final, Protocol

import structlog

from gateway.access.rate_limit import Limit, Limiter
from gateway.errors import RateLimited, Unauthenticated
from gateway.request import ANONYMOUS, Principal

log = structlog.stdlib.get_logger("gateway.access")

FAILURES: Final = Limit(rpm=30, burst=30)
"""How many bad or missing credentials one address may try."""


class Authenticator(Protocol):
    """One way to authenticate."""

    header: ClassVar[str]
    """The header that carries its credential, in lower case."""

    async def authenticate(self, credential: str, view: str | None) -> Principal:
        """
        Args:
            credential: the header's value.
            view: the upstream whose own endpoint was asked, there or not; None anywhere else.

        Raises:
            Unauthenticated: it is not good; the message says why without repeating it.
        """
        ...


class Authentication:
    """Tries the ways in order.

    Args:
        challenge: makes the `WWW-Authenticate` header of a 401, by the view; empty for none.
    """

    def __init__(
        self,
        ways: Sequence[Authenticator],
        limiter: Limiter,
        challenge: Callable[[str | None], str] = lambda view: "",
    ) -> None:
        self._ways = ways
        self._limiter = limiter
        self._challenge = challenge

    async def __call__(self, headers: Mapping[str, str], address: str, view: str | None = None) -> Principal:
        """
        Args:
            headers: by lower-case name.
            address: where the request came from; too many failures from there are refused unheard.
            view: see `Authenticator`.

        Raises:
            Unauthenticated, RateLimited: what it says.
        """
        try:
            for way in self._ways:
                credential = headers.get(way.header)
                if credential is not None:
                    return await way.authenticate(credential, view)
            names = ", ".join(way.header for way in self._ways)
            raise Unauthenticated(f"Authentication is required: send one of {names}.")
        except Unauthenticated as error:
            if challenge := self._challenge(view):
                error.headers.setdefault("www-authenticate", challenge)
            decision = await self._limiter.take(f"failures:{address}", FAILURES)
            log.info("authentication failed", address=address, reason=error.message)
            if not decision.allowed:
                raise RateLimited(decision.retry_after, "on failed authentication") from None
            raise


async def anybody(headers: Mapping[str, str], address: str, view: str | None = None) -> Principal:
    """Authentication is off: whoever is on this machine."""
    return ANONYMOUS
