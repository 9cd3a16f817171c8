"""Who sent an HTTP request: the first credential it carries decides; a bad one is an error, not a fall-through."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import ClassVar, Protocol

import structlog

from gateway.access import metadata
from gateway.access.failures import Failures
from gateway.access.known import Known, KnownCredentials
from gateway.access.rate_limit import MemoryLimiter
from gateway.errors import Unauthenticated
from gateway.request import Principal

log = structlog.stdlib.get_logger("gateway.access")


class Authenticator(Protocol):
    """One way to authenticate."""

    header: ClassVar[str]
    """The header that carries its credential, in lower case."""

    good_for: ClassVar[float]
    """Seconds until a good credential must be looked at again, unless `Authentication.forget` says so before."""

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
    """

    def __init__(
        self,
        ways: Sequence[Authenticator],
        limiter: MemoryLimiter,
        challenge: Callable[[str | None, str], str] = lambda view, wrong: metadata.realm_challenge(wrong),
        observe: Callable[[str, bool], None] = lambda limit, allowed: None,
    ) -> None:
        self._ways = ways
        self._known = KnownCredentials()
        self._failures = Failures(limiter, observe)
        self._challenge = challenge

    def recognise(
        self, headers: Mapping[str, str], address: str, view: str | None = None, known: Known | None = None
    ) -> Known | None:
        """Who sent it, if its credential was good from that address just now; else it is to be looked at.

        Args:
            known: what this returned for the same headers, address and view.
        """
        if known is not None and self._known.holds(known) and self._failures.remembers(known.handle):
            return known
        way = next((way for way in self._ways if way.header in headers), None)
        if way is None:
            return None
        known = self._known.find((self._failures.handle(address, f"{way.header}: {headers[way.header]}"), view))
        return known if known is not None and self._failures.remembers(known.handle) else None

    def forget(self) -> None:
        """Somebody may be less than they were: every credential is looked at anew."""
        self._known.forget()

    def attempt(self, address: str, credential: str) -> AbstractAsyncContextManager[None]:
        """Around the look at a credential that came in another way than in a header; see `Failures.attempt`."""
        return self._failures.attempt(address, credential)

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
        credential, term = headers[way.header] if way is not None else "", self._known.term
        async with self._failures.attempt(address, f"{way.header}: {credential}" if way is not None else ""):
            try:
                if way is None:
                    names = ", ".join(way.header for way in self._ways)
                    raise Unauthenticated(f"Authentication is required: send one of {names}.")
                principal = await way.authenticate(credential, view, address)
            except Unauthenticated as error:
                wrong = error.message if way is not None and way.header == "authorization" else ""
                error.headers.setdefault("www-authenticate", self._challenge(view, wrong))
                log.info("authentication failed", address=address, reason=error.message)
                raise
        key = self._failures.handle(address, f"{way.header}: {credential}"), view
        self._known.keep(key, principal, term, way.good_for)
        return principal
