"""Host names → addresses, without names that do not resolve standing in anybody's way.

The system's resolver blocks a thread, for half a minute where a name server does not answer. uvloop gives it the four
threads of libuv that all names and files share, so that four dead names stop everything. Here each name has a thread
of its own while it is looked up, once at a time, with a deadline for those who wait for it; and what it resolved to
last is used for as long as it cannot be looked up anew.
"""

import asyncio
import functools
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address
from socket import EAI_AGAIN, SOCK_STREAM, gaierror, getaddrinfo
from typing import Final

import anyio

LOOKUP_SECONDS: Final = 5.0
"""How long who wants to connect waits for a name."""
FRESH_SECONDS: Final = 30.0
"""How long addresses are used without asking anew."""
STALE_SECONDS: Final = 3600.0
"""How long they are used if the name cannot be looked up any more."""
MAX_THREADS: Final = 64
"""Most names that are looked up at a time."""
MAX_SLOW: Final = 32
"""Most of them that did not resolve in time before: what they take, names that do resolve must not miss."""
MAX_NAMES: Final = 1024
"""Most names that are remembered."""

Lookup = Callable[[str], Sequence[str]]
"""A name's addresses, best first. Blocks. Raises OSError or UnicodeError."""


def system_lookup(host: str) -> Sequence[str]:
    """As the system's resolver says."""
    return tuple(dict.fromkeys(str(place[0]) for *_, place in getaddrinfo(host, None, type=SOCK_STREAM)))


@dataclass(frozen=True, slots=True)
class _Known:
    addresses: Sequence[str]
    at: float
    fresh_until: float


class Resolver:
    """
    Args:
        lookup: asks the system.
        clock: seconds.
    """

    def __init__(self, lookup: Lookup = system_lookup, clock: Callable[[], float] = time.monotonic) -> None:
        self._lookup = lookup
        self._clock = clock
        self._known: dict[str, _Known] = {}
        self._running: dict[str, Future[Sequence[str]]] = {}
        self._slow: set[str] = set()
        """Names that somebody has waited for in vain."""

    async def addresses(self, host: str, patience: float = LOOKUP_SECONDS) -> Sequence[str]:
        """The addresses of a host, best first; of an address, itself.

        Args:
            patience: how many seconds the name is waited for.

        Raises:
            OSError: it has none, or did not resolve in time.
            UnicodeError: it cannot be a name.
        """
        with suppress(ValueError):
            ip_address(host)
            return (host,)
        known = self._known.get(host)
        if known is not None and self._clock() < known.fresh_until:
            return known.addresses
        try:
            found = await self._look_up(host, patience)
        except OSError:
            now = self._clock()
            if known is None or now - known.at > STALE_SECONDS:
                raise
            self._known[host] = _Known(known.addresses, known.at, now + FRESH_SECONDS)
            return known.addresses
        now = self._clock()
        self._known.pop(host, None)
        self._known[host] = _Known(found, now, now + FRESH_SECONDS)
        if len(self._known) > MAX_NAMES:
            del self._known[next(iter(self._known))]
        return found

    async def _look_up(self, host: str, patience: float) -> Sequence[str]:
        found = self._running.get(host) or self._start(host)
        with anyio.move_on_after(patience):
            addresses = await asyncio.wrap_future(found)
            self._slow.discard(host)
            return addresses
        if len(self._slow) < MAX_NAMES:
            self._slow.add(host)
        raise gaierror(EAI_AGAIN, f"the name does not resolve within {patience:g} s")

    def _start(self, host: str) -> Future[Sequence[str]]:
        running = list(self._running)
        slow = sum(name in self._slow for name in running)
        if len(running) >= MAX_THREADS or (host in self._slow and slow >= MAX_SLOW):
            raise gaierror(EAI_AGAIN, f"{len(running)} other names are being looked up")
        found = self._running[host] = Future[Sequence[str]]()
        found.set_running_or_notify_cancel()  # who waits no longer must not cancel it for the others
        # A daemon: the process must not wait for it at its end.
        try:
            threading.Thread(target=self._run, args=(host, found), name="lookup", daemon=True).start()
        except RuntimeError as error:
            del self._running[host]
            raise gaierror(EAI_AGAIN, str(error)) from None
        return found

    def _run(self, host: str, found: Future[Sequence[str]]) -> None:
        try:
            addresses = self._lookup(host)
            if not addresses:
                raise gaierror(f"{host} has no address")
        except BaseException as error:
            self._running.pop(host, None)
            found.set_exception(error)
        else:
            self._running.pop(host, None)
            found.set_result(addresses)


@functools.cache
def resolver() -> Resolver:
    """The one of this process."""
    return Resolver()
