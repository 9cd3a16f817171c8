"""Buckets that nodes share (`gateway.store`), so that a principal gets no more from many nodes than from one.

A decision is answered at once from a lease, or because the bucket is known to be empty; else it waits for the store,
which decides for all who ask within a millisecond in one step. The sum over all nodes stays within the limit to a
request, in both directions: leases are paid for in advance, and what is not used comes back within moments.

A store that is away, or takes too long, is not waited for: each node then gives out its share, and tells the store of
it afterwards.
"""

import asyncio
import hashlib
import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import anyio
from anyio.abc import TaskGroup

from gateway.access.bucket_script import BUCKETS, Request, ScriptAnswer
from gateway.access.rate_limit import MAX_BUCKETS, Bucket, Decision, Limit
from gateway.errors import StoreUnavailable
from gateway.store.shared import Store

WAIT_SECONDS: Final = 0.08
"""How long a request waits for a decision, before it gets one by this node's share."""
LATE_SECONDS: Final = 0.01
"""A timer that comes so late says that this process was busy, not that the store is slow."""
LEASE_SECONDS: Final = 0.02
MAX_LEASE: Final = 1000
PACE_SECONDS: Final = 0.001
"""Between two questions to the store."""
AGAIN_SECONDS: Final = 0.005
"""When to ask again for tokens that another node may give back."""
EMPTY_SECONDS: Final = 0.25
"""How long an empty bucket is not asked for again at most: tokens may have been given back."""
SETTLE_SECONDS: Final = 0.1
MAX_ASKED: Final = 200
"""Buckets in one question."""
DEMAND_SECONDS: Final = 0.5
"""How long ago a principal's last request may be, for another to be expected."""


@dataclass(slots=True)
class _Waiter:
    future: "asyncio.Future[Decision]"
    until: float
    """When it gives up, in the event loop's time."""
    is_refused: bool = False
    """Whether the bucket was empty, and it waits for what may come back."""


@dataclass(slots=True, eq=False)
class _Account:
    """What this node knows of one bucket."""

    name: str
    """In the store."""
    limit: Limit
    lease: int = 0
    lease_until: float = 0.0
    back: int = 0
    """Tokens to give back."""
    spent: int = 0
    """Tokens given out of this node's share, of which the store does not know yet."""
    empty_until: float = 0.0
    """Until when the bucket is taken to be empty without asking."""
    next_at: float = 0.0
    """When there will be a token."""
    left: float | None = None
    """Tokens in the store, as of `left_at`."""
    left_at: float = 0.0
    used: int = 0
    """Tokens given out since `used_since`: what is to be expected."""
    used_since: float = 0.0
    share: Bucket | None = None
    waiting: list[_Waiter] = field(default_factory=list[_Waiter])


class SharedLimiter:
    """A `Limiter`. `run` must be running.

    Args:
        clock: seconds, never stepping back.
        cap: most buckets that are known here; who has been quiet longest is forgotten first, and the store is asked.
    """

    def __init__(self, store: Store, clock: Callable[[], float] = time.monotonic, cap: int = MAX_BUCKETS) -> None:
        self._store = store
        self._clock = clock
        self._cap = cap
        self._accounts: OrderedDict[str, _Account] = OrderedDict()
        self._due: dict[_Account, None] = {}
        """Those that have something to ask or to tell."""
        self._wake = asyncio.Event()
        self._leased: set[_Account] = set()
        self._has_leased = asyncio.Event()
        self._owing: set[_Account] = set()
        self.shared_out = 0
        """Tokens given out of this node's share."""

    def consume(self, key: str, limit: Limit) -> Decision | None:
        account = self._accounts.get(key)
        if account is None:
            account = self._open(key, limit)
        else:
            self._accounts.move_to_end(key)
            if account.limit is not limit and account.limit != limit:
                account.limit, account.empty_until, account.share = limit, 0.0, None
        now = self._clock()
        if account.lease and now < account.lease_until:
            account.lease -= 1
            account.used += 1
            return self._allowed(account, now)
        if now < account.empty_until:
            return self._refused(account, now)
        if not self._store.is_quick:
            return self._by_share(account, now)
        return None

    async def consume_later(self, key: str, limit: Limit) -> Decision:
        decision = self.consume(key, limit)
        if decision is not None:
            return decision
        account, loop = self._accounts[key], asyncio.get_running_loop()
        waiter = _Waiter(loop.create_future(), loop.time() + WAIT_SECONDS)
        account.waiting.append(waiter)
        self._ask_for(account)
        timer = loop.call_at(waiter.until, self._give_up, account, waiter)
        try:
            return await waiter.future
        finally:
            timer.cancel()

    def give_back(self, key: str, limit: Limit) -> None:
        account = self._accounts.get(key)
        if account is None:
            return
        if self._clock() < account.lease_until:
            account.lease += 1
        else:
            account.back += 1
            self._ask_for(account)

    @property
    def owes(self) -> bool:
        """Whether tokens were given out of which the store does not know yet."""
        return bool(self._owing)

    async def run(self) -> None:
        """Ask the store, until cancelled."""
        async with anyio.create_task_group() as tg:
            tg.start_soon(self._end_leases)
            tg.start_soon(self._settle)
            while True:
                await self._wake.wait()
                self._wake.clear()
                while self._due:
                    accounts = [account for account, _ in zip(list(self._due), range(MAX_ASKED), strict=False)]
                    for account in accounts:
                        del self._due[account]
                    self._ask(tg, accounts)
                    await asyncio.sleep(PACE_SECONDS)

    # --- Deciding -----------------------------------------------------------------------------------------------------

    def _open(self, key: str, limit: Limit) -> _Account:
        name = "limit:" + hashlib.blake2b(key.encode(), digest_size=16).hexdigest()
        account = self._accounts[key] = _Account(name, limit)
        if len(self._accounts) > self._cap:
            _, quietest = self._accounts.popitem(last=False)
            self._owing.discard(quietest)
        return account

    def _allowed(self, account: _Account, now: float) -> Decision:
        tokens = self._tokens(account, now) + account.lease
        return Decision(True, account.limit, math.floor(tokens + 1e-6), self._reset(account, tokens), 0.0)

    def _refused(self, account: _Account, now: float) -> Decision:
        return Decision(False, account.limit, 0, self._reset(account, 0.0), max(0.001, account.next_at - now))

    def _tokens(self, account: _Account, now: float) -> float:
        """In the store by now, as far as is known here."""
        limit = account.limit
        if account.left is None:
            return limit.capacity
        return min(limit.capacity, account.left + (now - account.left_at) * limit.per_second)

    def _reset(self, account: _Account, tokens: float) -> float:
        return max(0.0, account.limit.capacity - tokens) / account.limit.per_second

    def _by_share(self, account: _Account, now: float) -> Decision:
        """What this node decides alone: of the limit, one part of as many as there are nodes."""
        limit, nodes = account.limit, self._store.nodes
        part = limit if nodes == 1 else Limit(max(1, limit.rpm // nodes), limit.burst // nodes)
        if account.share is None:
            account.share = Bucket(min(part.capacity, self._tokens(account, now) / nodes), now)
        decision = account.share.consume(part, now)
        if decision.allowed:
            self.shared_out += 1
            account.spent += 1
            self._owing.add(account)
        decision.limit = limit
        return decision

    def _give_up(self, account: _Account, waiter: _Waiter) -> None:
        """It has waited long enough."""
        if waiter.future.done():
            return
        loop = asyncio.get_running_loop()
        if loop.time() - waiter.until > LATE_SECONDS:
            waiter.until = loop.time() + LATE_SECONDS
            loop.call_at(waiter.until, self._give_up, account, waiter)
            return
        if waiter.is_refused:
            self._refuse(account, [waiter])
        else:
            waiter.future.set_result(self._by_share(account, self._clock()))

    # --- Asking the store ---------------------------------------------------------------------------------------------

    def _ask_for(self, account: _Account) -> None:
        self._due[account] = None
        self._wake.set()

    def _ask(self, tasks: TaskGroup, accounts: list[_Account]) -> None:
        now = self._clock()
        requests: list[Request] = []
        waiting: list[list[_Waiter]] = []
        asked: list[_Account] = []
        for account in accounts:
            limit = account.limit
            waiters = [waiter for waiter in account.waiting if not waiter.future.done()]
            account.waiting = []
            if not (waiters or account.back or account.spent):
                continue
            asked.append(account)
            requests.append(
                Request(
                    *(limit.capacity, limit.per_second, len(waiters)),
                    *(self._wish(account, now) if waiters else 0, account.back, account.spent),
                )
            )
            waiting.append(waiters)
            account.back = account.spent = 0
        if asked:
            tasks.start_soon(self._question, asked, requests, waiting, now)

    def _wish(self, account: _Account, now: float) -> int:
        """How many tokens will be asked for while a lease lasts, going by what was."""
        since, used = account.used_since, account.used
        if now - since < LEASE_SECONDS:
            return 0 if account.lease else min(MAX_LEASE, used)
        account.used_since, account.used = now, 0
        if now - since > DEMAND_SECONDS:
            return 0
        return min(MAX_LEASE, int(used * LEASE_SECONDS / (now - since)))

    async def _question(
        self, accounts: list[_Account], requests: list[Request], waiting: list[list[_Waiter]], asked_at: float
    ) -> None:
        arguments = [value for request in requests for value in request]
        try:
            raw = await self._store.do(BUCKETS, [account.name for account in accounts], arguments, patience=5.0)
        except StoreUnavailable:
            for account, request, waiters in zip(accounts, requests, waiting, strict=True):
                account.spent += request.spent
                for waiter in waiters:
                    if not waiter.future.done():
                        waiter.future.set_result(self._by_share(account, self._clock()))
            return
        for account, request, waiters, each in zip(accounts, requests, waiting, raw, strict=True):
            self._answered(account, request, waiters, ScriptAnswer.read(each), asked_at)

    def _answered(
        self, account: _Account, request: Request, waiters: list[_Waiter], answer: ScriptAnswer, asked_at: float
    ) -> None:
        now = self._clock()
        account.left, account.left_at = answer.left, now
        if now - asked_at < WAIT_SECONDS and self._store.is_quick:
            account.share = None
        if not account.spent:
            self._owing.discard(account)
        if answer.leased:
            account.lease += answer.leased
            account.lease_until = asked_at + LEASE_SECONDS
            self._leased.add(account)
            self._has_leased.set()
        granted = answer.granted
        refused: list[_Waiter] = []
        for waiter in waiters:
            if waiter.future.done():
                continue  # it gave up, and was decided by the share
            if granted:
                granted -= 1
                account.used += 1
                waiter.future.set_result(self._allowed(account, now))
            else:
                refused.append(waiter)
        if granted:
            account.back += granted
            self._ask_for(account)
        if answer.granted == request.ask:
            return
        if answer.out:
            for waiter in refused:
                waiter.is_refused = True
            account.waiting += refused
            asyncio.get_running_loop().call_later(AGAIN_SECONDS, self._ask_for, account)
        else:
            self._refuse(account, refused)

    def _refuse(self, account: _Account, waiters: list[_Waiter]) -> None:
        """The bucket is empty, and will be until the next token."""
        now = self._clock()
        account.next_at = now + max(0.001, (1 - self._tokens(account, now)) / account.limit.per_second)
        account.empty_until = min(account.next_at, now + EMPTY_SECONDS)
        for waiter in waiters:
            waiter.future.set_result(self._refused(account, now))

    async def _end_leases(self) -> None:
        """Give back what was not used in time."""
        while True:
            await self._has_leased.wait()
            self._has_leased.clear()
            while self._leased:
                await asyncio.sleep(LEASE_SECONDS / 2)
                now = self._clock()
                for account in [each for each in self._leased if now >= each.lease_until]:
                    self._leased.discard(account)
                    if account.lease:
                        account.back += account.lease
                        account.lease = 0
                        self._ask_for(account)

    async def _settle(self) -> None:
        """Tell a store that is back what was given out meanwhile."""
        while True:
            await asyncio.sleep(SETTLE_SECONDS)
            if self._owing and self._store.is_quick:
                for account in self._owing:
                    self._ask_for(account)
