"""How often a principal may ask: a token bucket, and the interface behind which the buckets live.

The bucket is pure; time is passed in. It refills `rpm / 60` tokens a second and holds `rpm + burst`.
"""

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from math import ceil
from typing import Final, Protocol

import msgspec

MAX_BUCKETS: Final = 100_000
"""Most principals remembered. Who has been quiet longest is forgotten first, and starts with a full bucket."""


@dataclass(frozen=True, slots=True)
class Limit:
    """So many requests a minute, and so many more at once."""

    rpm: int
    burst: int = 0
    capacity: int = field(init=False, compare=False, repr=False)
    per_second: float = field(init=False, compare=False, repr=False)
    header: str = field(init=False, compare=False, repr=False)
    """The `RateLimit-Policy` field."""
    lines: str = field(init=False, compare=False, repr=False)
    """What `header_lines` begin with."""

    def __post_init__(self) -> None:
        capacity, per_second = self.rpm + self.burst, self.rpm / 60
        window = ceil(capacity / per_second) if per_second > 0 else 0
        object.__setattr__(self, "capacity", capacity)
        object.__setattr__(self, "per_second", per_second)
        object.__setattr__(self, "header", f'"default";q={capacity};w={window}')
        object.__setattr__(self, "lines", f'ratelimit-policy: {self.header}\r\nratelimit: "default";r=')


class Decision(msgspec.Struct):
    """What a limit says to one request."""

    allowed: bool
    limit: Limit
    remaining: int
    """Whole requests left."""
    reset: float
    """Seconds until the bucket is full again."""
    retry_after: float
    """Seconds until the next request is allowed; 0 if this one was."""


@dataclass(slots=True)
class Bucket:
    """One principal's tokens at one moment."""

    tokens: float
    at: float

    @classmethod
    def full(cls, limit: Limit, now: float) -> "Bucket":
        return cls(limit.capacity, now)

    def consume(self, limit: Limit, now: float) -> Decision:
        """Take one token if there is one. A clock that steps back is taken to have stood still."""
        tokens, capacity = self.tokens, limit.capacity
        if now > self.at:
            tokens += (now - self.at) * limit.per_second
            if tokens > capacity:
                tokens = capacity
            self.at = now
        if tokens >= 1:
            self.tokens = tokens = tokens - 1
            return Decision(True, limit, int(tokens), (capacity - tokens) / limit.per_second, 0.0)
        self.tokens = tokens
        return Decision(False, limit, 0, (capacity - tokens) / limit.per_second, (1 - tokens) / limit.per_second)

    def give_back(self, limit: Limit) -> None:
        """Undo one `consume`."""
        self.tokens = min(limit.capacity, self.tokens + 1)


class Limiter(Protocol):
    """Where buckets live: in this process, or shared between nodes."""

    def consume(self, key: str, limit: Limit) -> Decision | None:
        """Take one token of the bucket called `key`. None if that takes waiting: `consume_later` does it."""
        ...

    async def consume_later(self, key: str, limit: Limit) -> Decision: ...

    def give_back(self, key: str, limit: Limit) -> None:
        """Undo one `consume` of an allowed token."""
        ...


class MemoryLimiter:
    """Buckets in this process."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, cap: int = MAX_BUCKETS) -> None:
        self._clock = clock
        self._cap = cap
        self._buckets: OrderedDict[str, Bucket] = OrderedDict()

    def consume(self, key: str, limit: Limit) -> Decision:
        buckets, now = self._buckets, self._clock()
        bucket = buckets.get(key)
        if bucket is not None:
            buckets.move_to_end(key)
            return bucket.consume(limit, now)
        bucket = buckets[key] = Bucket.full(limit, now)
        if len(buckets) > self._cap:
            buckets.popitem(last=False)
        return bucket.consume(limit, now)

    async def consume_later(self, key: str, limit: Limit) -> Decision:
        return self.consume(key, limit)

    def give_back(self, key: str, limit: Limit) -> None:
        bucket = self._buckets.get(key)
        if bucket is not None:
            bucket.give_back(limit)


def headers(decision: Decision) -> dict[str, str]:
    """The `RateLimit` and `RateLimit-Policy` fields (draft-ietf-httpapi-ratelimit-headers)."""
    return {
        "ratelimit-policy": decision.limit.header,
        "ratelimit": f'"default";r={decision.remaining};t={ceil(decision.reset)}',
    }


def header_lines(decision: Decision) -> str:
    """The same as lines of HTTP, each with its end."""
    return f"{decision.limit.lines}{decision.remaining};t={ceil(decision.reset)}\r\n"
