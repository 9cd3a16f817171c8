"""Who decides what of an upstream's listing may be published."""

from collections.abc import Mapping
from typing import Protocol

from gateway.catalogue.pins import PinVerdict, unjudged
from gateway.config.models import ServerConfig
from gateway.upstream.listing import Listing


class Judge(Protocol):
    """Decides what of an upstream's listing may be published."""

    def judge(self, upstream: str, listing: Listing) -> PinVerdict: ...

    async def prepare(
        self, upstream: str, listing: Listing, servers: Mapping[str, ServerConfig] | None = None
    ) -> PinVerdict:
        """Work out beside the event loop what `judge` will say, with these servers if they are to be others then."""
        ...


class Lenient:
    """All may be published."""

    def judge(self, upstream: str, listing: Listing) -> PinVerdict:
        return unjudged(listing)

    async def prepare(
        self, upstream: str, listing: Listing, servers: Mapping[str, ServerConfig] | None = None
    ) -> PinVerdict:
        return unjudged(listing)
