"""The access log: a line for each request, kept for a moment and written together with others."""

import asyncio
import functools
import json
from datetime import UTC, datetime
from typing import Final

import msgspec
import structlog

from gateway.telemetry import logs

FLUSH_SECONDS: Final = 0.05
"""How long lines are kept, to be written together."""
_OURS: Final = ("event", "level", "timestamp", "worker")
"""What every line of the log says anyway."""


class AccessLine(msgspec.Struct, eq=False, gc=False):
    """One line. What is None is left out."""

    at: float
    """Seconds since 1970."""
    members: str
    """What is the same in many lines: see `members_of`."""
    request_id: str | None
    trace_id: str | None
    session: str | None
    bytes_in: int | None
    seconds: float | None = None
    """How long it took; None for what was refused before it was a call."""
    queue_seconds: float = 0.0
    upstream_seconds: float = 0.0
    bytes_out: int | None = None
    """Filled in when the answer has been written."""


def members_of(**fields: str | int | None) -> str:
    """What lines say, as JSON without its braces; what is None is left out."""
    given = {name: _clipped(value) for name, value in fields.items() if value is not None}
    return logs.render_json(None, "", given)[1:-1]


def _clipped(value: object) -> object:
    """What is shown of what a client says that is longer."""
    access = logs.access()
    return access.redact.clip(value) if access is not None else value


class AccessLog:
    """The lines that each request leaves. `flush` at the end."""

    def __init__(self) -> None:
        self._lines: list[AccessLine] = []
        self._timer: asyncio.TimerHandle | None = None

    def write(self, line: AccessLine) -> None:
        """
        Args:
            line: what is filled in until it is written is in it.
        """
        self._lines.append(line)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(FLUSH_SECONDS, self.flush)

    def flush(self) -> None:
        """Write what there is."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        lines, self._lines = self._lines, []
        access = logs.access()
        if access is None or not access.wanted:
            return
        if access.sink is None:
            for line in lines:
                said = {name: value for name, value in json.loads(_text(line)).items() if name not in _OURS}
                structlog.get_logger("gateway.access").info("request", **said)
        elif lines:
            access.sink.write(access.redact("".join([_text(line) for line in lines])))


def _text(line: AccessLine) -> str:
    text = line.members
    if line.request_id is not None:  # it needs no escapes, nor do the other two
        text = f'"request_id":"{line.request_id}",{text}'
    if line.trace_id is not None:
        text = f'{text},"trace_id":"{line.trace_id}"'
    if line.session is not None:
        text = f'{text},"session":"{line.session}"'
    if line.seconds is not None:
        text = (
            f'{text},"ms":{line.seconds * 1000:.2f},"queue_ms":{line.queue_seconds * 1000:.2f}'
            f',"upstream_ms":{line.upstream_seconds * 1000:.2f}'
        )
    if line.bytes_in is not None:
        text = f'{text},"bytes_in":{line.bytes_in}'
    if line.bytes_out is not None:
        text = f'{text},"bytes_out":{line.bytes_out}'
    if logs.worker is not None:
        text = f'{text},"worker":{logs.worker}'
    return f'{{{text},"event":"request","level":"info","timestamp":"{iso(line.at)}"}}\n'


def iso(at: float) -> str:
    """Seconds since 1970, as everybody writes them."""
    second = int(at)
    return f"{_second(second)}.{int((at - second) * 1_000_000):06}Z"


@functools.lru_cache(maxsize=8)
def _second(at: int) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S")
