"""Which requests may be sent once more, when, and how many in all. Pure: time and chance are passed in.

What provably never reached the upstream may always be sent again. What may have reached it may be sent again only if
doing it twice is the same as doing it once.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from gateway.jsonrpc import as_object
from gateway.protocol import LIST_METHODS

MAX_ATTEMPTS: Final = 3
"""Of one request, the first included."""
BASE_SECONDS: Final = 0.1
MAX_SECONDS: Final = 2.0

SHARE: Final = 0.2
"""How many retries there may be to each request, …"""
LEAST: Final = 3
"""… but that many in any case, or an upstream that is rarely asked would never be asked again, …"""
WINDOW_SECONDS: Final = 60.0
"""… within this time."""
_SLOTS: Final = 10

WITHOUT_EFFECT: Final = frozenset(
    {
        *LIST_METHODS,
        *("resources/read", "prompts/get", "completion/complete", "ping", "server/discover"),
        *("skills/get", "resources/directory/read"),
    }
)
"""Methods that change nothing at the upstream."""
_OF_ROUNDS: Final = ("inputResponses", "requestState")
"""Parameters that carry what an agent answered to the upstream's questions."""


def is_repeatable(method: str, params: Mapping[str, Any], tool: Mapping[str, Any] | None) -> bool:
    """Whether doing it twice is the same as doing it once.

    Args:
        tool: the one that is called, if its annotations are trusted.
    """
    if any(params.get(name) is not None for name in _OF_ROUNDS):
        return False  # somebody was asked something for it, and is not to be asked again
    if method != "tools/call":
        return method in WITHOUT_EFFECT
    annotations = as_object((tool or {}).get("annotations"))
    return annotations.get("readOnlyHint") is True or annotations.get("idempotentHint") is True


def delay(attempt: int, chance: float) -> float:
    """Seconds to wait before the retry that follows the attempt of that number, from 1. Exponential with full jitter,
    so that those whom one failure hit do not come back together. `chance` is uniform in [0, 1)."""
    return chance * min(MAX_SECONDS, BASE_SECONDS * 2 ** (attempt - 1))


class RetryBudget:
    """Keeps retries from becoming a load of their own, just when an upstream can bear it least."""

    def __init__(self) -> None:
        self._requests = _Recent()
        self._retries = _Recent()
        self.requested = self._requests.add
        """`(now)`: a request has come."""

    def take(self, now: float) -> bool:
        """Spend one retry, if there is one left."""
        if self._retries.count(now) >= max(LEAST, int(SHARE * self._requests.count(now))):
            return False
        self._retries.add(now)
        return True


@dataclass(slots=True)
class _Recent:
    """How many there were in the last `WINDOW_SECONDS`, in steps of a tenth of it."""

    _slot: int = 0
    """The present step, …"""
    _over: float = 0.0
    """… and when it ends."""
    _in_slot: int = 0
    _before: deque[tuple[int, int]] = field(default_factory=deque[tuple[int, int]])
    """Earlier steps, and how many there were in each."""
    _total: int = 0

    def add(self, now: float) -> None:
        if now >= self._over:
            self._go_on(now)
        self._in_slot += 1
        self._total += 1

    def count(self, now: float) -> int:
        self._go_on(now)
        return self._total

    def _go_on(self, now: float) -> None:
        slot = int(now / WINDOW_SECONDS * _SLOTS)
        if slot != self._slot:
            self._before.append((self._slot, self._in_slot))
            self._slot, self._in_slot = slot, 0
        self._over = (slot + 1) * WINDOW_SECONDS / _SLOTS
        while self._before and self._before[0][0] <= slot - _SLOTS:
            self._total -= self._before.popleft()[1]
