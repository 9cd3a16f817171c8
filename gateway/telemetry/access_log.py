"""The access log: a line for each request, kept for a moment and written together with others."""

import asyncio
import functools
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
import structlog

from gateway.harmless import Clipped
from gateway.telemetry import logs
from gateway.telemetry.logs import Redactor

FLUSH_SECONDS: Final = 0.05
"""How long lines are kept, to be written together."""
_CLIENTS: Final = ("method", "target", "client", "http")
"""What a client says, which may be longer than is shown of it."""


class AccessLine(msgspec.Struct, omit_defaults=True, eq=False, gc=False):
    """One line, as it is written; what is None is left out. Times are in milliseconds."""

    request_id: str | None = None
    trace_id: str | None = None
    http: str | None = None
    """Method and path of what was refused before it was a call."""
    status: int | None = None
    """Of HTTP, for such a one."""
    method: str | None = None
    target: str | None = None
    upstream: str | None = None
    outcome: str | None = None
    code: int | None = None
    ms: float | None = None
    queue_ms: float | None = None
    upstream_ms: float | None = None
    bytes_in: int | None = None
    bytes_out: int | None = None
    """Filled in when the answer has been written."""
    principal: str | None = None
    address: str | None = None
    session: str | None = None
    era: str | None = None
    view: str | None = None
    client: str | None = None
    event: str | None = None
    level: str | None = None
    timestamp: str | None = None
    worker: int | None = None


_encode: Final = msgspec.json.Encoder().encode


class AccessLog:
    """The lines that each request leaves. `flush` at the end."""

    def __init__(self) -> None:
        self._lines: list[tuple[float, AccessLine]] = []
        self._timer: asyncio.TimerHandle | None = None

    def write(self, at: float, line: AccessLine) -> None:
        """
        Args:
            at: seconds since 1970.
            line: what is filled in until it is written is in it.
        """
        access = logs.access()
        if access is None or not access.wanted:
            return
        self._lines.append((at, line))
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
            for _, line in lines:
                structlog.get_logger("gateway.access").info("request", **_fields(line))
        elif lines:
            redact = access.redact
            access.sink.write(redact("".join([_text(at, line, redact) for at, line in lines])))


def _text(at: float, line: AccessLine, redact: Redactor) -> str:
    for name in _CLIENTS:
        if type(value := getattr(line, name)) is Clipped:
            setattr(line, name, redact.clip(value))
    line.event, line.level, line.timestamp, line.worker = "request", "info", iso(at), logs.worker
    try:
        return _encode(line).decode() + "\n"
    except (UnicodeEncodeError, OverflowError):
        return logs.render_json(None, "", _fields(line)) + "\n"


def _fields(line: AccessLine) -> dict[str, Any]:
    return {name: value for name, value in msgspec.structs.asdict(line).items() if value is not None}


def iso(at: float) -> str:
    """Seconds since 1970, as everybody writes them."""
    second = int(at)
    return f"{_second(second)}.{int((at - second) * 1_000_000):06}Z"


@functools.lru_cache(maxsize=8)
def _second(at: int) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S")
