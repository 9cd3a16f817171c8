"""The access log: a line for each request, kept for a moment and written together with others."""

import asyncio
import functools
from datetime import UTC, datetime
from typing import Any, Final

import structlog

from gateway.harmless import Clipped
from gateway.telemetry import logs
from gateway.telemetry.logs import Redactor

FLUSH_SECONDS: Final = 0.05
"""How long lines are kept, to be written together."""


class AccessLog:
    """The lines that each request leaves. `flush` at the end."""

    def __init__(self) -> None:
        self._lines: list[tuple[float, dict[str, Any]]] = []
        self._timer: asyncio.TimerHandle | None = None

    def write(self, at: float, fields: dict[str, Any]) -> None:
        """
        Args:
            at: seconds since 1970.
            fields: what is added to them until the line is written is in it; what is None is left out.
        """
        access = logs.access()
        if access is None or not access.wanted:
            return
        self._lines.append((at, fields))
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(FLUSH_SECONDS, self.flush)

    def flush(self) -> None:
        """Write what there is."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        lines, self._lines = self._lines, []
        access = logs.access()
        if access is None or access.sink is None:
            for _, fields in lines:
                structlog.get_logger("gateway.access").info("request", **fields)
        elif lines:
            redact = access.redact
            access.sink.write(redact("".join([_line(at, fields, redact) for at, fields in lines])))


def _line(at: float, fields: dict[str, Any], redact: Redactor) -> str:
    line: dict[str, Any] = {
        name: redact.clip(value) if type(value) is Clipped else value
        for name, value in fields.items()
        if value is not None
    }
    line |= {"event": "request", "level": "info", "timestamp": iso(at)}
    if logs.worker is not None:
        line["worker"] = logs.worker
    return logs.render_json(None, "", line) + "\n"


def iso(at: float) -> str:
    """Seconds since 1970, as everybody writes them."""
    second = int(at)
    return f"{_second(second)}.{int((at - second) * 1_000_000):06}Z"


@functools.lru_cache(maxsize=8)
def _second(at: int) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S")
