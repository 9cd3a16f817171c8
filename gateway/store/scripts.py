"""The scripts that the store itself needs; others stand beside what they are for."""

from collections.abc import Sequence
from typing import Any

from gateway.store.memory import Memory
from gateway.store.shared import Script


def _not_here(memory: Memory, keys: Sequence[str], arguments: Sequence[Any]) -> Any:
    raise AssertionError("a store in memory needs no beat")


BEAT = Script(
    "beat",
    """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZADD', KEYS[1], now, ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - ARGV[2])
redis.call('PUBLISH', ARGV[3], '')
return {now, redis.call('ZCARD', KEYS[1]), redis.call('HGETALL', KEYS[2])}
""",
    _not_here,
)
"""Keys: nodes, versions. Arguments: this node, milliseconds after which a silent one is gone, this node's channel.
Returns the time in milliseconds, how many nodes there are, and the versions."""

DELETE = Script(
    "delete",
    "local there = 0 for _, key in ipairs(KEYS) do there = there + redis.call('DEL', key) end return there",
    lambda memory, keys, arguments: sum(memory.delete(key) for key in keys),
)
"""Keys: what to delete. Returns how many were there."""
