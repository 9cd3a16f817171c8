"""Whose turn it is where only one can be served at a time: a lock that no address can keep from the others.

Start-time fair queueing (Goyal, Vin and Cheng, 1997) between addresses: each begins where the one being served has come
to, and moves back by one with every turn that it asks for. Among equals the network decides that has asked for fewer,
then who came last: what has waited for long has mostly given up.
"""

import asyncio
import heapq
import ipaddress
from itertools import count
from typing import Final, Generic, TypeVar

from gateway.errors import Overloaded

T = TypeVar("T")

MAX_REMEMBERED: Final = 16_384
"""Addresses, and networks, of which is known how much they asked for while somebody waited."""
MAX_WAITING: Final = 256
"""One more, and the one who would come last is refused."""


class FairQueue(Generic[T]):
    """The order of what waits. Pure."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, int, T]] = []
        self._numbers = count(0, -1)
        self._now = 0
        self._next: dict[str, int] = {}
        """When the next of an address begins."""
        self._asked: dict[str, int] = {}
        """How many turns a network has asked for."""

    def __len__(self) -> int:
        return len(self._heap)

    def clear(self) -> None:
        """Nobody waits, and nobody is served: all are equal again."""
        self._heap.clear()
        self._next.clear()
        self._asked.clear()
        self._now = 0

    def push(self, address: str, item: T) -> None:
        if len(self._next) > MAX_REMEMBERED:
            self._next.clear()
            self._asked.clear()
        start = max(self._now, self._next.get(address, 0))
        self._next[address] = start + 1
        network = network_of(address)
        asked = self._asked.get(network, 0)
        self._asked[network] = asked + 1
        heapq.heappush(self._heap, (start, asked, next(self._numbers), item))

    def pop(self) -> T:
        """Who is next. There must be one."""
        start, _, _, item = heapq.heappop(self._heap)
        self._now = start
        return item

    def pop_last(self) -> T:
        """Who would come last."""
        last = max(range(len(self._heap)), key=lambda index: self._heap[index][:3])
        item = self._heap.pop(last)[3]
        heapq.heapify(self._heap)
        return item


class Turns:
    """The lock. Whoever has acquired it releases it."""

    def __init__(self) -> None:
        self._queue = FairQueue[asyncio.Future[None]]()
        self._is_taken = False

    async def acquire(self, address: str) -> None:
        """
        Raises:
            Overloaded: too many wait.
        """
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.push(address, turn)
        if not self._is_taken:
            self._queue.pop()
            self._is_taken = True
            return
        if len(self._queue) > MAX_WAITING:
            last = self._queue.pop_last()
            if not last.done():
                last.set_exception(Overloaded("too many keys wait to be looked at", "auth.api_keys_file"))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self.release()  # it was given to us as we left
            raise

    def release(self) -> None:
        """Pass it on."""
        while len(self._queue):
            turn = self._queue.pop()
            if not turn.done():
                turn.set_result(None)
                return
        self._is_taken = False
        self._queue.clear()


def network_of(address: str) -> str:
    """What is handed out in one piece: /24 of IPv4, /48 of IPv6."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    return str(ipaddress.ip_network((parsed, 24 if parsed.version == 4 else 48), strict=False))
