"""Who lists again at once need not be looked after again: with a hundred servers that is most of what a list costs."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from gateway.call import Call
from gateway.request import Principal

SECONDS: Final = 0.1
"""For how long nobody is looked after again."""
MAX_REMEMBERED: Final = 512


@dataclass(frozen=True, slots=True)
class _Looked:
    principal: Principal
    capabilities: Mapping[str, Any]
    revision: int
    at: float
    hints: Mapping[str, Any]


class Recently:
    """
    Args:
        revision: another number whenever somebody may see something else.
    """

    def __init__(self, revision: Callable[[], int]) -> None:
        self._revision = revision
        self._looked: dict[tuple[int, int, str | None, bool], _Looked] = {}

    def hints(self, call: Call) -> Mapping[str, Any] | None:
        """What was kept for who is the same, declares the same and sees the same; None if that is too long ago."""
        agent = call.agent
        looked = self._looked.get((id(call.principal), id(agent.capabilities), agent.view, agent.lasting))
        if (
            looked is None
            or looked.principal is not call.principal
            or looked.capabilities is not agent.capabilities
            or looked.revision != self._revision()
            or time.monotonic() - looked.at > SECONDS
        ):
            return None
        return looked.hints

    def keep(self, call: Call, hints: Mapping[str, Any]) -> None:
        """All that they see has been looked after."""
        if len(self._looked) >= MAX_REMEMBERED:
            self._looked.clear()
        looked = _Looked(call.principal, call.agent.capabilities, self._revision(), time.monotonic(), hints)
        agent = call.agent
        self._looked[id(call.principal), id(agent.capabilities), agent.view, agent.lasting] = looked
