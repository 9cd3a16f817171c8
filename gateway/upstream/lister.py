"""Fetches an upstream's lists: follows `nextCursor` as far as is reasonable, and no further."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, cast

import anyio

from gateway import jsonrpc
from gateway.errors import GatewayError, UpstreamError, UpstreamProtocolError
from gateway.jsonrpc import as_object
from gateway.protocol import METHOD_NOT_FOUND, SKILLS
from gateway.upstream.listing import Item, Listing
from gateway.upstream.session import Negotiated, UpstreamSession
from gateway.upstream.timing import USUAL, UpstreamTiming

MAX_PAGES: Final = 1000
MAX_ITEMS: Final = 20_000
MAX_BYTES: Final = 8 * 1024 * 1024
"""Most bytes of one list, all pages together. One page is bounded by the upstream's `max_response_bytes`."""

KINDS: Final = {
    "tools": ("tools/list", "tools", "tools"),
    "resources": ("resources/list", "resources", "resources"),
    "templates": ("resources/templates/list", "resourceTemplates", "resources"),
    "prompts": ("prompts/list", "prompts", "prompts"),
    "skills": ("skills/list", "skills", SKILLS),
}
"""Field of `Listing` → the method that lists it, the key the items stand under, the capability or extension it belongs
to."""
_MAY_BE_MISSING: Final = ("templates", "skills")
"""Lists that servers may not have although they declare what they belong to."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """A fresh listing, and what went wrong on the way (one sentence each)."""

    listing: Listing
    problems: tuple[str, ...]
    failed: frozenset[str]
    """The lists that could not be fetched, so that what was known of them stands."""


async def fetch(
    session: UpstreamSession,
    agreed: Negotiated,
    timeout: float,
    previous: Listing | None,
    kinds: Collection[str] = tuple(KINDS),
    capabilities: Mapping[str, Any] | None = None,
    timing: UpstreamTiming = USUAL,
) -> Fetched:
    """Fetch the lists the upstream declares a capability for.

    Args:
        timeout: seconds for each page.
        previous: what stands in for a list that could not be fetched, and for those not in `kinds`.
        capabilities: what these requests' client can do (modern only); default: what the session declared.
    """
    listing = replace(
        previous or Listing(unknown=tuple(KINDS)),
        capabilities=agreed.capabilities,
        server_info=agreed.server_info,
        instructions=agreed.instructions,
        version=agreed.version,
    )
    if len(kinds) == len(KINDS):
        listing = replace(listing, ttl_ms=None, private=False)
    problems: list[str] = []
    failed: set[str] = set()
    for kind in kinds:
        method, key, capability = KINDS[kind]
        if capability not in agreed.capabilities | as_object(agreed.capabilities.get("extensions")):
            listing = _known(listing, kind, [])
            continue
        try:
            pages = await _pages(session, method, key, timeout, capabilities, timing.list_seconds)
        except GatewayError as error:
            if kind in _MAY_BE_MISSING and isinstance(error, UpstreamError) and error.code == METHOD_NOT_FOUND:
                pages = _Pages()
            else:
                problems.append(f"{method} failed: {error.message}")
                failed.add(kind)
                continue
        if pages.problem:
            problems.append(f"{method}: {pages.problem}")
        listing = replace(
            _known(listing, kind, pages.items),
            ttl_ms=_smaller(listing.ttl_ms, pages.ttl_ms),
            private=listing.private or pages.private,
        )
    return Fetched(listing, tuple(problems), frozenset(failed))


def _known(listing: Listing, kind: str, items: Sequence[Item]) -> Listing:
    unknown = tuple(each for each in listing.unknown if each != kind)
    return replace(listing, **{kind: tuple(items)}, unknown=unknown)


class _Pages:
    """The items of one list, as its pages come in."""

    def __init__(self) -> None:
        self.items: list[Item] = []
        self.ttl_ms: int | None = None
        self.private = False
        self.problem = ""
        self._bytes = 0

    def add(self, items: list[Any], result: dict[str, Any]) -> None:
        self.items.extend(cast("list[Item]", [item for item in items if isinstance(item, dict)]))
        self._bytes += len(jsonrpc.dumps(items))
        ttl = result.get("ttlMs")
        if isinstance(ttl, int) and not isinstance(ttl, bool):
            self.ttl_ms = _smaller(self.ttl_ms, max(ttl, 0))
        self.private = self.private or result.get("cacheScope") == "private"
        if len(self.items) > MAX_ITEMS:
            del self.items[MAX_ITEMS:]
            self.problem = f"more than {MAX_ITEMS} items; the rest is left out"
        elif self._bytes > MAX_BYTES:
            self.problem = f"more than {MAX_BYTES} bytes; the rest is left out"


async def _pages(
    session: UpstreamSession,
    method: str,
    key: str,
    timeout: float,
    capabilities: Mapping[str, Any] | None,
    max_seconds: float,
) -> _Pages:
    pages = _Pages()
    cursor: str | None = None
    seen: set[str] = set()
    give_up_at = anyio.current_time() + max_seconds
    for _ in range(MAX_PAGES):
        params = {} if cursor is None else {"cursor": cursor}
        result = await session.request(method, params, {"timeout": timeout}, capabilities=capabilities)
        items = result.get(key)
        if not isinstance(items, list):
            raise UpstreamProtocolError(session.connection.upstream, f"a result without {key!r}")
        pages.add(cast("list[Any]", items), result)
        following = result.get("nextCursor")
        if pages.problem or not isinstance(following, str):
            return pages
        if following in seen:
            pages.problem = "its pages repeat"
            return pages
        if anyio.current_time() > give_up_at:
            pages.problem = f"more than {max_seconds:g} s of pages; the rest is left out"
            return pages
        seen.add(following)
        cursor = following
    pages.problem = f"more than {MAX_PAGES} pages; the rest is left out"
    return pages


def _smaller(a: int | None, b: int | None) -> int | None:
    return b if a is None else a if b is None else min(a, b)
