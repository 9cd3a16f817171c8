"""What goes on in another process of this gateway, as that one tells it: for `/status`, which speaks for all."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from gateway.request import Principal
from gateway.telemetry.activity import Activity, Cell, Slice


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """One process."""

    slices: list[Slice] = field(default_factory=list[Slice])
    """By the clock of the one that asked."""
    sessions: int = 0
    in_flight: int = 0
    upstreams: Mapping[str, tuple[int, int]] = field(default_factory=dict[str, tuple[int, int]])
    """Requests that await each one's answer, and those that wait for a place at it."""


def export(activity: Activity, now: float, load: tuple[int, int], upstreams: Mapping[str, tuple[int, int]]) -> bytes:
    slices = [
        [now - each.began, [[*key, _principal(cell.principal), cell.numbers] for key, cell in each.cells.items()]]
        for each in activity.slices
    ]
    return orjson.dumps([slices, *load, dict(upstreams)])


def taken(data: bytes, now: float) -> Elsewhere:
    slices, sessions, in_flight, upstreams = orjson.loads(data)
    return Elsewhere(
        [
            Slice(
                now - age,
                {
                    (id, upstream, target): Cell(_of(principal), numbers)
                    for id, upstream, target, principal, numbers in cells
                },
            )
            for age, cells in slices
        ],
        sessions,
        in_flight,
        {name: (one, other) for name, (one, other) in upstreams.items()},
    )


def _principal(principal: Principal) -> list[Any]:
    """What is shown of it, and what decides who may see that."""
    return [principal.id, principal.owner, principal.agent_name, [id for id, _ in principal.ancestors]]


def _of(principal: list[Any]) -> Principal:
    id, owner, agent_name, ancestors = principal
    return Principal(id, owner=owner, agent_name=agent_name, ancestors=tuple((each, None) for each in ancestors))
