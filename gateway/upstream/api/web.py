"""GET requests that are no calls: for a document, and for where a redirect leads. Guarded, and in bounds.

A redirect is followed within the bounds of `egress`, and takes credentials no further than to their own origin.
"""

from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass

import anyio.to_thread


class FetchFailed(Exception):
    """There is no answer; the message says why, in words that may follow the URL."""


@dataclass(frozen=True, slots=True)
class WebAnswer:
    """What came back."""

    url: str
    """Where it was, in the end."""
    status: int
    headers: Mapping[bytes, bytes]
    """Lower-case names."""
    body: bytes


Fetch = Callable[[str, Mapping[str, str], int, float, Collection[str], Mapping[str, str], bool], Awaitable[WebAnswer]]
"""See `web_request.fetch`."""


async def get(
    url: str,
    headers: Mapping[str, str],
    cap: int,
    seconds: float,
    *,
    private_hosts: Collection[str] = (),
    credentials: Mapping[str, str] | None = None,
    stays: bool = False,
) -> WebAnswer:
    """
    Args:
        cap: bytes of the body, at most.
        private_hosts: hosts that the owner of the gateway named, which may be on a private network.
        credentials: headers for the origin of `url` alone.
        stays: whether no redirect to another origin is followed.

    Raises:
        FetchFailed: there is no answer, or it is too large.
    """
    fetch = await anyio.to_thread.run_sync(_fetcher)
    return await fetch(url, headers, cap, seconds, private_hosts, credentials or {}, stays)


def _fetcher() -> "Fetch":
    """Loads an HTTP client, which a gateway needs whose APIs are documented elsewhere. Blocks the first time."""
    from gateway.upstream.api.web_request import fetch

    return fetch
