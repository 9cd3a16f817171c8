"""What connections prove with who asks, as the transports see it: headers, and what to do when those are refused.

Who obtains them, and how (OAuth or anything else), is not known here; `gateway.logins` does. A server that needs none
has no `Credentials` at all, and its connections never ask. Where there are some, a request costs nothing either: the
headers stand ready in the bytes that each request begins with, and are replaced there when they change (`follow`).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from gateway.request import Principal

REFUSALS: Final = frozenset({401, 403})
"""HTTP statuses that refuse what a request proved, or that it proved nothing."""
MAX_CHALLENGE: Final = 8192
"""Bytes of `WWW-Authenticate` that are looked at."""


@dataclass(frozen=True, slots=True)
class Challenge:
    """An HTTP answer that refused our credentials, or that there were none."""

    status: int
    """401, or 403."""
    header: str
    """`WWW-Authenticate`; of several, all of them, with commas between. Clipped, and not to be trusted."""
    sent: Mapping[str, str]
    """The headers that were refused."""


def challenge_of(headers: Mapping[bytes, bytes]) -> str:
    """`Challenge.header`, from an answer's headers."""
    return headers.get(b"www-authenticate", b"")[:MAX_CHALLENGE].decode("latin-1")


class Credentials(Protocol):
    """What the connections of one principal to one server prove themselves with."""

    @property
    def headers(self) -> Mapping[str, str]:
        """What requests carry now; empty if there is nothing. Never waits."""
        ...

    async def prepare(self) -> None:
        """Have headers that are good, before a connection is opened.

        Raises:
            LoginNeeded: somebody has to log in first.
            GatewayError: they cannot be had now.
        """
        ...

    async def refused(self, challenge: Challenge) -> bool:
        """A request was refused, so it was not acted on. Returns whether it may be sent once more: there are other
        headers by now. If not, the refusal is passed on as it is.

        Raises:
            LoginNeeded: somebody has to log in first, or again, or grant more.
            GatewayError: other headers cannot be had now.
        """
        ...

    async def look(self) -> None:
        """See whether somebody has got others elsewhere. Who follows hears of it."""
        ...

    def follow(self, on_change: Callable[[], None]) -> Callable[[], None]:
        """Be told, on the loop, when there are other headers. Returns how to be told no more."""
        ...


class CredentialSource(Protocol):
    """Whose credentials to use with one server."""

    @property
    def is_personal(self) -> bool:
        """Whether each principal has its own, so that no two may share a connection."""
        ...

    @property
    def has_own_lists(self) -> bool:
        """Whether only who has logged in for themselves is told what there is."""
        ...

    def of(self, principal: Principal | None) -> Credentials | None:
        """
        Args:
            principal: whose connection it is; None for the one that all share.

        Returns:
            None if nothing is to be proved.
        """
        ...
