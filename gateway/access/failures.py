"""How many bad credentials an address may try: counted before a credential is looked at, so that a flood costs nothing.

Each attempt takes a token of its address's bucket, and a good one gives it back. Credentials that were good from that
address before take none: whoever shares an address with a flood goes on working, and what is new is refused unheard,
so that a guess learns nothing. Kept in this process: asking a shared store would be a cost of its own.
"""

import hashlib
import ipaddress
import secrets
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Final

import structlog

from gateway.access.rate_limit import Limit, MemoryLimiter
from gateway.errors import KeyUnknown, RateLimited, Unauthenticated

log = structlog.stdlib.get_logger("gateway.access")

FAILURES: Final = Limit(rpm=30, burst=30)
MAX_REMEMBERED: Final = 16_384
"""Credentials known to be good, each with its address; the one unused for longest is forgotten first."""
NETWORK_BITS: Final = 64
"""Of an IPv6 address: whoever has one has all that begin alike."""


class Failures:
    """
    Args:
        limiter: of its own, so that a flood crowds out nobody else's buckets.
        observe: told of every decision, as `("failures", allowed)`. What is known to be good needs none.
    """

    def __init__(self, limiter: MemoryLimiter, observe: Callable[[str, bool], None]) -> None:
        self._limiter = limiter
        self._observe = observe
        self._good: OrderedDict[bytes, None] = OrderedDict()
        self._pepper = secrets.token_bytes(32)

    def remembers(self, handle: bytes) -> bool:
        """Whether a credential was good from an address before."""
        try:
            self._good.move_to_end(handle)
        except KeyError:
            return False
        return True

    @asynccontextmanager
    async def attempt(self, address: str, credential: str) -> AsyncGenerator[None]:
        """Around the look at a credential, which fails by raising `Unauthenticated`. Any other error is not its fault.

        Raises:
            RateLimited: the address has failed too often; the credential is not to be looked at.
        """
        handle = self.handle(address, credential)
        bucket = f"failures:{_network(address)}" if handle not in self._good else None
        if bucket is not None:
            self._consume(bucket, address)
        try:
            yield
        except (Unauthenticated, KeyUnknown):
            self._good.pop(handle, None)
            raise
        except BaseException:
            self._give_back(bucket)
            raise
        self._give_back(bucket)
        self._remember(handle)

    def _consume(self, bucket: str, address: str) -> None:
        decision = self._limiter.consume(bucket, FAILURES)
        self._observe("failures", decision.allowed)
        if not decision.allowed:
            raise RateLimited(decision.retry_after, "on failed authentication")
        if decision.remaining == 0:
            log.warning("an address fails to authenticate too often; it is not heard for a while", address=address)

    def _give_back(self, bucket: str | None) -> None:
        if bucket is not None:
            self._limiter.give_back(bucket, FAILURES)

    def _remember(self, handle: bytes) -> None:
        self._good[handle] = None
        self._good.move_to_end(handle)
        if len(self._good) > MAX_REMEMBERED:
            self._good.popitem(last=False)

    def handle(self, address: str, credential: str) -> bytes:
        """Stands for a credential from an address. The credential is not kept."""
        text = f"{address}\0{credential}".encode(errors="surrogatepass")
        return hashlib.blake2b(text, key=self._pepper, digest_size=16).digest()


def _network(address: str) -> str:
    """What counts as one address."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if parsed.version == 4 or parsed.ipv4_mapped is not None:
        return str(parsed)
    return str(ipaddress.ip_network((parsed, NETWORK_BITS), strict=False))
