"""Who wants to know of what is changed on the REST side, and of what is refused. Needs no FastAPI."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from gateway.frontend.http_request import HttpRequest
from gateway.request import Principal


class OnChange(Protocol):
    """Told what was changed, by whom, and what else there is to say of it."""

    def __call__(self, what: str, by: Principal | None = None, **fields: Any) -> None: ...


def ignore(what: str, by: Principal | None = None, **fields: Any) -> None:
    """Nobody wants to know."""


def _may() -> None:
    """Nothing is in the way."""


def _alone(level: str | None, seconds: float | None, by: str) -> None:
    """There are no other processes."""


@dataclass(frozen=True, slots=True)
class Changes:
    check: Callable[[], None] = _may
    """Raises what keeps anything from being changed now, short of taking rights away."""
    on_change: OnChange = ignore
    on_refused: Callable[[HttpRequest, int], None] | None = None
    on_log_level: Callable[[str | None, float | None, str], None] = _alone
    """Told the level that somebody wishes, for how many seconds, and who: other processes are to have it too."""
