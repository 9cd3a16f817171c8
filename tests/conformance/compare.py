"""What two runs of the suite have different: one straight at a server or by a client, one with the gateway between."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from tests.conformance.suite import Checks, Results

GOOD: Final = "SUCCESS"
BAD: Final = frozenset({"FAILURE", "WARNING"})
NOT_OFFERED: Final = "tasks-"
"""Scenarios of an extension that our server has not."""


@dataclass(frozen=True, slots=True)
class Difference:
    """What one scenario comes to without the gateway and not with it, and the other way round."""

    scenario: str
    without: Checks
    through: Checks

    @property
    def checks(self) -> frozenset[str]:
        """What the checks are called."""
        return frozenset(check for check, _ in [*self.without, *self.through])

    def __str__(self) -> str:
        return f"{self.scenario}: {_words(self.without)} directly, {_words(self.through)} through the gateway"


@dataclass(frozen=True, slots=True)
class Known:
    """Differences that cannot be otherwise, or need not: they must be there, in these checks and in no others."""

    revision: str
    ways: Collection[str]
    """Which upstreams are behind the gateway, or which eras of agents before it."""
    checks: Mapping[str, Collection[str]]
    """By scenario."""
    reason: str


def servers_differ(direct: Results, through: Results) -> list[Difference]:
    """A server behind the gateway is to be the same server: every check made as often, with the same outcome."""
    pairs = [(name, direct.get(name, Checks()), through.get(name, Checks())) for name in sorted({*direct, *through})]
    return [Difference(name, a - b, b - a) for name, a, b in pairs if a != b]


def clients_differ(direct: Results, through: Results) -> list[Difference]:
    """The gateway is to be as good a client: it sends requests of its own, so that it may well pass more, but nothing
    less, and fail nothing."""
    found: list[Difference] = []
    for name in sorted({*direct, *through}):
        a, b = direct.get(name, Checks()), through.get(name, Checks())
        lost, failed = _only(a - b, {GOOD}), _only(b - a, BAD)
        if lost or failed:
            found.append(Difference(name, lost, failed))
    return found


def failing(direct: Results) -> list[str]:
    """What fails without the gateway, so that a comparison with it says nothing."""
    return [
        f"{name}: {_words(failed)} directly"
        for name, checks in direct.items()
        if (failed := _only(checks, BAD)) and not name.startswith(NOT_OFFERED)
    ]


def surprises(differences: Collection[Difference], known: Collection[Known], revision: str, way: str) -> list[str]:
    """What is not as it was known to be: differences nobody expects, and expected ones that are not there."""
    here = [entry for entry in known if entry.revision == revision and way in entry.ways]
    expected = {scenario: frozenset(checks) for entry in here for scenario, checks in entry.checks.items()}
    found = {difference.scenario: difference for difference in differences}
    new = [str(difference) for name, difference in found.items() if difference.checks != expected.get(name)]
    gone = [f"{name}: no difference any more; take it off the list" for name in expected if name not in found]
    return [*new, *gone]


def _only(checks: Checks, statuses: Collection[str]) -> Checks:
    return Checks({key: count for key, count in checks.items() if key[1] in statuses})


def _words(checks: Checks) -> str:
    words = [f"{check} {status}" + f" ({count})" * (count > 1) for (check, status), count in sorted(checks.items())]
    return ", ".join(words) or "nothing"
