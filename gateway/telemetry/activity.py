"""Who calls what, and how that goes, over the last minute: for `/status` and whoever looks at it.

Slices of a few seconds, each with a bounded number of cells; what is older than the window is dropped as a whole. Time
is passed in.
"""

import math
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from gateway.request import Principal
from gateway.telemetry.cells import DURATIONS

if TYPE_CHECKING:
    from gateway.telemetry.elsewhere import Elsewhere

SLICE_SECONDS: Final = 5.0
SLICES: Final = 12
RECENT_SECONDS: Final = 2 * SLICE_SECONDS
"""What counts as now."""
MOST: Final = 500
"""Cells of a slice; calls that would need more are counted together, for those who see everything."""
OTHERS: Final = Principal("(others)", scopes=frozenset())

_FAILED, _SUM, _MAX, _BUCKETS = 0, 1, 2, 3


@dataclass(slots=True)
class Cell:
    principal: Principal
    numbers: list[float]
    """How many failed, the sum of seconds, the longest, and how many by bucket of `DURATIONS`."""

    def add(self, seconds: float, bucket: int, ok: bool) -> None:
        """
        Args:
            bucket: the first of `DURATIONS` that is not less than `seconds`.
        """
        numbers = self.numbers
        numbers[_BUCKETS + bucket] += 1
        numbers[_SUM] += seconds
        if seconds > numbers[_MAX]:
            numbers[_MAX] = seconds
        if not ok:
            numbers[_FAILED] += 1


def unseen() -> Cell:
    """One that nobody reads."""
    return Cell(OTHERS, [0.0] * (_BUCKETS + len(DURATIONS) + 1))


@dataclass(slots=True)
class Slice:
    began: float
    cells: dict[tuple[str, str, str], Cell] = field(default_factory=dict[tuple[str, str, str], Cell])
    """(principal, upstream, target) → what it did."""


@dataclass(slots=True)
class Sum:
    """Some calls together."""

    numbers: list[float] = field(default_factory=lambda: [0.0] * (_BUCKETS + len(DURATIONS) + 1))
    recent: float = 0.0
    """How many of them just now."""

    def add(self, numbers: Sequence[float], *, is_recent: bool) -> None:
        longest = max(self.numbers[_MAX], numbers[_MAX])
        self.numbers = [one + other for one, other in zip(self.numbers, numbers, strict=True)]
        self.numbers[_MAX] = longest
        if is_recent:
            self.recent += sum(numbers[_BUCKETS:])

    @property
    def count(self) -> int:
        return int(sum(self.numbers[_BUCKETS:]))

    @property
    def failed(self) -> int:
        return int(self.numbers[_FAILED])

    @property
    def seconds(self) -> float:
        """All together."""
        return self.numbers[_SUM]

    @property
    def longest(self) -> float:
        return self.numbers[_MAX]

    def quantile(self, share: float) -> float:
        """Seconds within which that share of them was answered, as far as the buckets tell."""
        wanted, before, below = share * self.count, 0.0, 0.0
        for bound, many in zip((*DURATIONS, self.longest), self.numbers[_BUCKETS:], strict=True):
            if many and before + many >= wanted:
                top = min(bound, self.longest)
                return min(self.longest, below + max(0.0, top - below) * (wanted - before) / many)
            before, below = before + many, bound
        return self.longest


@dataclass(frozen=True, slots=True)
class ActivityReport:
    """What somebody may know of it."""

    seconds: float
    """How long ago it begins."""
    recent_seconds: float
    all: Sum
    by_upstream: dict[str, Sum]
    """Empty name: what the gateway answers itself."""
    by_target: dict[tuple[str, str], Sum]
    """(upstream, tool or the like)."""
    by_principal: dict[str, tuple[Principal, Sum, str]]
    """Principal, their calls, and what they call most."""


class Activity:
    def __init__(self) -> None:
        self.slices: deque[Slice] = deque(maxlen=SLICES)
        self.gather: Callable[[], Awaitable[Sequence[Elsewhere]]] | None = None
        """Where there are other processes: asks them what goes on."""
        self.until = -math.inf
        """When the next slice begins."""
        self._cells: dict[tuple[str, str, str], Cell] = {}

    def cell(self, principal: Principal, upstream: str, target: str, now: float) -> Cell:
        """Where calls of that kind are counted, which is so `until` then.

        Args:
            upstream: empty for what the gateway answers itself.
            now: seconds of a clock that does not go back.
        """
        if now >= self.until:
            self._turn(now)
        return self._cells.get((principal.id, upstream, target)) or self._made(principal, upstream, target)

    def read(
        self, now: float, sees: Callable[[Principal, str], bool], elsewhere: Iterable[Slice] = ()
    ) -> ActivityReport:
        """
        Args:
            sees: whether a principal's calls of an upstream may be known.
            elsewhere: of other processes.
        """
        slices = [each for each in (*self.slices, *elsewhere) if now - each.began <= SLICES * SLICE_SECONDS]
        recent = [each for each in slices if now - each.began <= RECENT_SECONDS]
        total, upstreams, targets = Sum(), dict[str, Sum](), dict[tuple[str, str], Sum]()
        people, calls = dict[str, tuple[Principal, Sum]](), dict[str, dict[str, int]]()
        for each in slices:
            is_recent = any(each is one for one in recent)
            for (id, upstream, target), cell in each.cells.items():
                if not sees(cell.principal, upstream):
                    continue
                _, person = people.setdefault(id, (cell.principal, Sum()))
                of_upstream = upstreams.setdefault(upstream, Sum())
                for one in (total, person, of_upstream, targets.setdefault((upstream, target), Sum())):
                    one.add(cell.numbers, is_recent=is_recent)
                of_person = calls.setdefault(id, {})
                of_person[target] = of_person.get(target, 0) + int(sum(cell.numbers[_BUCKETS:]))
        return ActivityReport(
            seconds=_since(slices, now),
            recent_seconds=_since(recent, now),
            all=total,
            by_upstream=upstreams,
            by_target=targets,
            by_principal={id: (*of, max(calls[id], key=calls[id].__getitem__)) for id, of in people.items()},
        )

    def _turn(self, now: float) -> None:
        """The next slice begins."""
        made = Slice(now)
        self.slices.append(made)
        self._cells, self.until = made.cells, now + SLICE_SECONDS

    def _made(self, principal: Principal, upstream: str, target: str) -> Cell:
        if len(self._cells) >= MOST:
            principal, upstream, target = OTHERS, "", OTHERS.id
        return self._cells.setdefault(
            (principal.id, upstream, target), Cell(principal, [0.0] * (_BUCKETS + len(DURATIONS) + 1))
        )


def _since(slices: Iterable[Slice], now: float) -> float:
    """How long ago the first began; at least a second, so that nothing is a rate of thousands."""
    return max([1.0, *(now - each.began for each in slices)])
