"""Who sent an HTTP request: the first credential it carries decides; a bad one is an error, not a fall-through."""

from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar, Protocol

import structlog

from gateway.access import metadata
from gateway.access.failures import Failures
from gateway.access.rate_limit import MemoryLimiter
from gateway.errors import Unauthenticated
from gateway.request import Principal

log = structlog.stdlib.get_logger("gateway.access")


class Authenticator(Protocol):
    """One way to authenticate."""

    header: ClassVar[str]
    """The header that carries its credential, in lower case."""

    async def authenticate(self, credential: str, view: str | None, address: str) -> Principal:
        """
        Args:
            credential: the header's value.
            view: the upstream whose own endpoint was asked, there or not; None anywhere else.
            address: where the request came from.

        Raises:
            Unauthenticated: it is not good; the message says why without repeating it.
        """
        ...


class Authentication:
    """Tries the ways in order.

    Args:
        limiter: counts failures; see `Failures`.
        challenge: makes the `WWW-Authenticate` header of a 401, by the view, and by what is wrong with the bearer that
            was sent, if one was.
        observe: see `Failures`.
        recognise: by header, a function that returns the principal of a credential without waiting, or None if
            `authenticate` must decide.
    """

    def __init__(
        self,
        ways: Sequence[Authenticator],
        limiter: MemoryLimiter,
        challenge: Callable[[str | None, str], str] = lambda view, wrong: metadata.realm_challenge(wrong),
        observe: Callable[[str, bool], None] = lambda limit, allowed: None,
        recognise: Mapping[str, Callable[[str], Principal | None]] = {},
    ) -> None:
        self._ways = ways
        self._recognise = recognise
        self._failures = Failures(limiter, observe)
        self._challenge = challenge

    def at_once(self, headers: Mapping[str, str], address: str) -> Principal | None:
        """Who sent it, if its credential was good from that address before and is recognised without waiting."""
        way = next((way for way in self._ways if way.header in headers), None)
        recognise = self._recognise.get(way.header) if way is not None else None
        if way is None or recognise is None:
            return None
        credential = headers[way.header]
        return recognise(credential) if self._failures.knows(address, f"{way.header}: {credential}") else None

    async def __call__(self, headers: Mapping[str, str], address: str, view: str | None = None) -> Principal:
        """
        Args:
            headers: by lower-case name.
            address: where the request came from; after too many failures, new credentials from there are not looked at.
            view: see `Authenticator`.

        Raises:
            Unauthenticated, RateLimited: what it says.
        """
        way = next((way for way in self._ways if way.header in headers), None)
        credential = headers[way.header] if way is not None else ""
        async with self._failures.attempt(address, f"{way.header}: {credential}" if way is not None else ""):
            try:
                if way is None:
                    names = ", ".join(way.header for way in self._ways)
                    raise Unauthenticated(f"Authentication is required: send one of {names}.")
                return await way.authenticate(credential, view, address)
            except Unauthenticated as error:
                wrong = error.message if way is not None and way.header == "authorization" else ""
                error.headers.setdefault("www-authenticate", self._challenge(view, wrong))
                log.info("authentication failed", address=address, reason=error.message)
                raise
