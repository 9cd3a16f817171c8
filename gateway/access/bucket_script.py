"""Buckets in the store: one step decides for many, by the store's own clock. The bucket is that of `rate_limit`.

What a node wishes for in advance is *leased*: tokens that it may give out without asking again, for a moment. Of what
is left in a bucket a lease is a small part, so that nobody waits long for what another has; and while any is out, an
empty bucket says so, for tokens may come back.
"""

import math
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from gateway.store.memory import Memory
from gateway.store.shared import Script

LEASED_PART: Final = 16
"""A lease is at most one part in so many of what is left."""
OUT_SECONDS: Final = 0.06
"""How long after a lease was given tokens of it may come back."""


class Request(NamedTuple):
    """What one node asks of one bucket."""

    capacity: float
    per_second: float
    ask: int
    """Tokens that somebody waits for: they get as many as there are."""
    wish: int = 0
    """Tokens to lease, if everybody who waits got theirs."""
    back: int = 0
    """Tokens of a lease that were not used."""
    spent: int = 0
    """Tokens given out while the store could not be asked. They are taken as far as they are there."""


class ScriptAnswer(NamedTuple):
    granted: int
    leased: int
    left: float
    """Tokens."""
    out: float
    """Seconds for which tokens may yet come back."""

    @classmethod
    def read(cls, raw: Sequence[int]) -> "ScriptAnswer":
        return cls(raw[0], raw[1], raw[2] / 1000, raw[3] / 1000)


def _decide(memory: Memory, keys: Sequence[str], arguments: Sequence[Any]) -> list[list[int]]:
    now = memory.now()
    answers: list[list[int]] = []
    for number, key in enumerate(keys):
        asked = Request(*arguments[number * 6 : number * 6 + 6])
        tokens, before, out = memory.get(key, (asked.capacity, now, 0.0))
        tokens = min(asked.capacity, tokens + max(0.0, now - before) * asked.per_second + asked.back)
        tokens = max(0.0, tokens - asked.spent)
        granted = min(asked.ask, math.floor(tokens + 1e-6))
        tokens -= granted
        leased = min(asked.wish, math.floor(tokens / LEASED_PART)) if granted == asked.ask else 0
        tokens -= leased
        out = now + OUT_SECONDS if leased else out
        full = (asked.capacity - tokens) / asked.per_second
        memory.set(key, (tokens, max(before, now), out), full + 1)
        answers.append([granted, leased, math.floor(tokens * 1000), max(0, math.ceil((out - now) * 1000))])
    return answers


BUCKETS: Final = Script(
    "buckets",
    f"""
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local answers = {{}}
for number, key in ipairs(KEYS) do
  local at = (number - 1) * 6
  local capacity, per_second = tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
  local ask, wish = tonumber(ARGV[at + 3]), tonumber(ARGV[at + 4])
  local tokens, before, out = capacity, now, 0
  local known = redis.call('GET', key)
  if known then
    local a, b, c = string.match(known, '(%S+) (%S+) (%S+)')
    tokens, before, out = tonumber(a), tonumber(b), tonumber(c)
  end
  tokens = math.min(capacity, tokens + math.max(0, now - before) * per_second + ARGV[at + 5])
  tokens = math.max(0, tokens - ARGV[at + 6])
  local granted = math.min(ask, math.floor(tokens + 0.000001))
  tokens = tokens - granted
  local leased = 0
  if granted == ask then leased = math.min(wish, math.floor(tokens / {LEASED_PART})) end
  tokens = tokens - leased
  if leased > 0 then out = now + {OUT_SECONDS} end
  local full = math.ceil((capacity - tokens) / per_second * 1000)
  local state = string.format('%.6f %.6f %.6f', tokens, math.max(before, now), out)
  redis.call('SET', key, state, 'PX', full + 1000)
  answers[number] = {{granted, leased, math.floor(tokens * 1000), math.max(0, math.ceil((out - now) * 1000))}}
end
return answers
""",
    _decide,
)
"""Keys: buckets. Arguments: a `Request` for each. Returns what `ScriptAnswer.read` reads, for each."""
