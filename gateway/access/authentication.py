"""Who sent an HTTP request: the first credential it carries decides; a bad one is an error, not a fall-through."""

from collections.abc import Mapping, Sequence
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

    async def authenticate(self, credential: str) -> Principal:
        """
        Args:
            credential: the header's value.

        Raises:
            Unauthenticated: it is not good; the message says why without repeating it.
        """
        ...


class Authentication:
    """Tries the ways in order.

    Args:
        challenge: the `WWW-Authenticate` header of a 401; empty for none.
    """

    def __init__(self, ways: Sequence[Authenticator], limiter: Limiter, challenge: str = "") -> None:
        self._ways = ways
        self._limiter = limiter
        self._challenge = challenge

    async def __call__(self, headers: Mapping[str, str], address: str) -> Principal:
        """
        Args:
            headers: by lower-case name.
            address: where the request came from; too many failures from there are refused unheard.

        Raises:
            Unauthenticated, RateLimited: what it says.
        """
        try:
            for way in self._ways:
                credential = headers.get(way.header)
                if credential is not None:
                    return await way.authenticate(credential)
            names = ", ".join(way.header for way in self._ways)
            raise Unauthenticated(f"Authentication is required: send one of {names}.")
        except Unauthenticated as error:
            if self._challenge:
                error.headers.setdefault("www-authenticate", self._challenge)
            decision = await self._limiter.take(f"failures:{address}", FAILURES)
            log.info("authentication failed", address=address, reason=error.message)
            if not decision.allowed:
                raise RateLimited(decision.retry_after, "on failed authentication") from None
            raise


async def anybody(headers: Mapping[str, str], address: str) -> Principal:
    """Authentication is off: whoever is on this machine."""
    return ANONYMOUS
