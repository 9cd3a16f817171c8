"""Who sent an HTTP request: the first credential it carries decides; a bad one is an error, not a fall-through."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
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


class Recogniser(Protocol):
    """Tells whose a credential is without waiting."""

    @property
    def revision(self) -> int:
        """Another number after each change of what is known."""
        ...

    def recognise(self, credential: str) -> Principal | None:
        """None if nobody has it, or that cannot be told so soon."""
        ...


@dataclass(frozen=True, slots=True)
class Known:
    """Who came with a credential, as far as was known at some moment."""

    principal: Principal
    handle: bytes
    """See `Failures`."""
    by: Recogniser
    revision: int


class Authentication:
    """Tries the ways in order.

    Args:
        limiter: counts failures; see `Failures`.
        challenge: makes the `WWW-Authenticate` header of a 401, by the view, and by what is wrong with the bearer that
            was sent, if one was.
        observe: see `Failures`.
        recognisers: by header, those that can tell whose a credential is without waiting.
    """

    def __init__(
        self,
        ways: Sequence[Authenticator],
        limiter: MemoryLimiter,
        challenge: Callable[[str | None, str], str] = lambda view, wrong: metadata.realm_challenge(wrong),
        observe: Callable[[str, bool], None] = lambda limit, allowed: None,
        recognisers: Mapping[str, Recogniser] = {},
    ) -> None:
        self._ways = ways
        self._recognisers = recognisers
        self._failures = Failures(limiter, observe)
        self._challenge = challenge

    def recognise(self, headers: Mapping[str, str], address: str, known: Known | None = None) -> Known | None:
        """Who sent it, if its credential was good from that address before and can be told without waiting.

        Args:
            known: what this returned for the same headers and address; looked at anew if something has changed since.
        """
        if known is not None and known.revision == known.by.revision and self._failures.remembers(known.handle):
            return known
        way = next((way for way in self._ways if way.header in headers), None)
        recogniser = self._recognisers.get(way.header) if way is not None else None
        if way is None or recogniser is None:
            return None
        credential = headers[way.header]
        handle = self._failures.handle(address, f"{way.header}: {credential}")
        if not self._failures.remembers(handle):
            return None
        principal = recogniser.recognise(credential)
        return Known(principal, handle, recogniser, recogniser.revision) if principal is not None else None

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
