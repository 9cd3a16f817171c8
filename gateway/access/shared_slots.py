"""How many requests of a principal may be in flight on all nodes together. `in_flight` counts those of this node.

Each node may have a few without asking (`free`). For more it takes slots from the store: of the cap, what no node has
for free and no other has taken. So the cap is never exceeded while the store answers, and few calls ask for anything.
Slots of a node that is gone are free again after `HELD_SECONDS`. Without the store each node goes by its share.
"""

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import anyio
import structlog
from anyio.abc import TaskGroup

from gateway.call import Call
from gateway.errors import StoreUnavailable, TooManyRequests
from gateway.request import ANONYMOUS
from gateway.store.memory import Memory
from gateway.store.shared import Script, Store

log = structlog.stdlib.get_logger("gateway.access")

FREE: Final = 8
"""Most that a node may have of one principal without asking."""
FREE_PART: Final = 8
"""Of the cap, at most one part in so many is given away so, by all nodes together."""
SPARE: Final = 32
"""Slots taken in advance, at most."""
WAIT_SECONDS: Final = 0.08
SWEEP_SECONDS: Final = 0.25
"""How often slots that nobody uses are given back, and those in use kept."""
SWEEP_PATIENCE: Final = 5.0
HELD_SECONDS: Final = 10.0
"""Longer than it takes to give up a connection to the store and make another, on a busy machine too."""


@dataclass(slots=True, eq=False)
class _Account:
    name: str
    """In the store."""
    used: int = 0
    granted: int = 0
    """Slots that the store gave."""
    asking: int = 0
    """How many questions are under way."""

    @property
    def is_idle(self) -> bool:
        """Whether nobody has a slot of it, or is about to."""
        return not self.used and not self.asking


class SharedSlots:
    """`run` must be running.

    Args:
        cap: of one principal and its agents.
        observe: `(limit, allowed)`, told of refusals.
    """

    def __init__(self, store: Store, cap: int, observe: Callable[[str, bool], None]) -> None:
        self._store = store
        self._observe = observe
        self._cap = cap
        self._accounts: dict[str, _Account] = {}
        self._holding: set[Call] = set()
        self._turns: dict[str, anyio.Lock] = {}
        self.shared_out = 0
        """Requests that went by this node's share, because the store did not answer in time."""

    def take_now(self, call: Call) -> bool:
        """Take a slot for a call. False if that takes asking the store, and `take` has to be awaited.

        Raises:
            TooManyRequests: the principal has too many in flight.
        """
        if call.principal == ANONYMOUS:
            return True
        root = call.principal.root_id
        account = self._accounts.get(root)
        if account is None:
            name = "slots:" + hashlib.blake2b(root.encode(), digest_size=16).hexdigest()
            account = self._accounts[root] = _Account(name)
        if account.used >= self._free() + account.granted:
            if self._store.is_quick:
                return False
            if account.used >= max(account.granted, self._cap // self._store.nodes):
                raise self._refusal()
            self.shared_out += 1
        self._hold(call, account)
        return True

    async def take(self, call: Call) -> None:
        """As `take_now`, asking the store.

        Raises:
            TooManyRequests: the principal has too many in flight on all nodes.
        """
        turn = self._turns.setdefault(call.principal.root_id, anyio.Lock())
        try:
            async with turn:  # who comes meanwhile may find that there are enough
                if self.take_now(call):
                    return
                account = self._accounts[call.principal.root_id]
                most = self._free() + account.granted
                if await self._ask(account, 1, WAIT_SECONDS):
                    most = self._free() + account.granted
                elif (share := self._cap // self._store.nodes) > most:
                    most = share
                    self.shared_out += 1
                if account.used >= most:
                    raise self._refusal()
                self._hold(call, account)
        finally:
            if not turn.locked():
                self._turns.pop(call.principal.root_id, None)

    def give(self, call: Call) -> None:
        """It is over. What it did not take is not given back."""
        if call not in self._holding:
            return
        self._holding.discard(call)
        root = call.principal.root_id
        account = self._accounts[root]
        account.used -= 1
        if account.is_idle and not account.granted:
            del self._accounts[root]

    async def run(self) -> None:
        """Keep the slots that are in use, and give the others back, until cancelled."""
        async with anyio.create_task_group() as tg:
            while True:
                await asyncio.sleep(SWEEP_SECONDS)
                self._sweep(tg)

    def _refusal(self) -> TooManyRequests:
        self._observe("in_flight_principal", False)
        return TooManyRequests(self._cap)

    def _hold(self, call: Call, account: _Account) -> None:
        account.used += 1
        self._holding.add(call)

    def _free(self) -> int:
        return min(FREE, self._cap // (FREE_PART * self._store.nodes))

    def _sweep(self, tasks: TaskGroup) -> None:
        for root, account in list(self._accounts.items()):
            if account.granted:
                tasks.start_soon(self._refresh, account)
            elif account.is_idle:
                del self._accounts[root]

    async def _refresh(self, account: _Account) -> None:
        if account.asking:
            return  # which says what is needed by now; two answers to different questions could contradict each other
        account.granted = min(account.granted, self._in_use(account))  # from here on, the rest is for others to take
        await self._ask(account, 0, SWEEP_PATIENCE)

    def _in_use(self, account: _Account) -> int:
        """Of slots that have to be asked for."""
        return max(0, account.used - self._free())

    async def _ask(self, account: _Account, more: int, patience: float) -> bool:
        """Keep the slots that are in use and have so many more, if they are to be had; and a few in advance if somebody
        waits for one and there are plenty. False if nobody knows."""
        account.asking += 1
        spare = min(SPARE, self._cap // SPARE) if more else 0
        pool = self._cap - self._free() * self._store.nodes
        arguments = self._store.node, self._in_use(account), more, spare, pool, round(HELD_SECONDS * 1000)
        try:
            account.granted = await self._store.do(SLOTS, [account.name], arguments, patience=patience)
        except StoreUnavailable as error:
            log.debug("slots not asked for", reason=error.message)
            return False
        finally:
            account.asking -= 1
        return True


def _slots(memory: Memory, keys: Sequence[str], arguments: Sequence[Any]) -> int:
    node, used, more, spare, pool, held = arguments
    now = memory.now()
    nodes = {name: each for name, each in memory.get(keys[0], {}).items() if each[1] > now and name != node}
    left = max(0, pool - sum(count for count, _ in nodes.values()))
    granted = max(used, min(used + more, left))
    granted += max(0, min(spare, (left - granted) // 4))
    if granted:
        nodes[node] = granted, now + held / 1000
    memory.set(keys[0], nodes, held / 1000)
    return granted


SLOTS: Final = Script(
    "slots",
    """
local node, used, more = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local spare, pool, held = tonumber(ARGV[4]), tonumber(ARGV[5]), ARGV[6]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local left = pool
local all = redis.call('HGETALL', KEYS[1])
for at = 1, #all, 2 do
  local count, till = string.match(all[at + 1], '(%d+) (%d+)')
  if tonumber(till) <= now then
    redis.call('HDEL', KEYS[1], all[at])
  elseif all[at] ~= node then
    left = left - count
  end
end
left = math.max(0, left)
local granted = math.max(used, math.min(used + more, left))
granted = granted + math.max(0, math.min(spare, math.floor((left - granted) / 4)))
if granted > 0 then
  redis.call('HSET', KEYS[1], node, string.format('%d %d', granted, now + held))
  redis.call('PEXPIRE', KEYS[1], held)
else
  redis.call('HDEL', KEYS[1], node)
end
return granted
""",
    _slots,
)
"""Keys: who has how many. Arguments: a node, how many it uses, how many more it needs, how many it would like in
advance, how many there are, and for how many milliseconds it has them. Returns how many it has: never fewer than it
uses, however many that are, for what is not counted would be given to others."""
