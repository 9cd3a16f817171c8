"""What the gateway logs and how: JSON lines for machines, a readable form for a terminal, both on stderr.

Nothing that the configuration holds as a secret gets through: every rendered line is searched for those values last of
all, whoever wrote it and in whatever field.
"""

import asyncio
import functools
import json
import logging
import os
import re
import sys
from collections.abc import Collection, MutableMapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Literal, TextIO, cast

import orjson
import structlog

from gateway.config.models import Config
from gateway.harmless import Clipped
from gateway.telemetry.log_stream import LogStream

_access: "_Access | None" = None
FLUSH_SECONDS: Final = 0.05
"""How long lines of the access log are kept, to be written together."""
MASK: Final = "***"
SHORTEST_LINE: Final = 6
"""Characters of a line of a secret that is masked also without the others."""
_FRAME: Final = "-----"
_QUIET: Final = ("httpx2", "httpcore2", "mcp", "client", "asyncio")
"""Loggers of libraries that say more than an operator wants at `info`."""


class Redactor:
    """Replaces secret values in text, also those of several lines of which a text has one.

    Args:
        secrets: values to hide; short ones would hide half the log and are left alone by whoever collects them.
    """

    def __init__(self, secrets: Collection[str]) -> None:
        values = {value for secret in secrets for value in (secret, *_lines(secret))}
        forms = {form for value in values for form in (value, orjson.dumps(value).decode()[1:-1]) if form}
        longest_first = sorted(forms, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, longest_first))) if longest_first else None

    def __call__(self, text: str) -> str:
        return self._pattern.sub(MASK, text) if self._pattern is not None else text

    def clip(self, value: object) -> object:
        """A value of a log's field, with what is `Clipped` in it masked as a whole and cut then."""
        if isinstance(value, Clipped):
            shown = self(value.whole)
            return shown if len(shown) <= value.limit else shown[: value.limit] + "…"
        if isinstance(value, list):
            return [self.clip(each) for each in cast("list[object]", value)]
        return value


def _lines(secret: str) -> list[str]:
    """The lines of a secret that has several, such as a private key; not those that frame it."""
    ends = r"[\r\n]+|\\r|\\n" if _FRAME in secret else r"[\r\n]+"  # in variables, keys often stand on one line
    lines = [line.strip() for line in re.split(ends, secret)]
    return [line for line in lines if len(line) >= SHORTEST_LINE and not line.startswith(_FRAME)] if lines[1:] else []


def configure(
    level: str, form: Literal["auto", "json", "console"], redact: Redactor, stream: TextIO | None = None
) -> None:
    """Set up logging for the process. The last call counts."""
    out = stream or sys.stderr
    console = form == "console" or (form == "auto" and out.isatty())
    number = getattr(logging, level.upper())
    colours = out.isatty() and not os.environ.get("NO_COLOR")
    plain = structlog.dev.plain_traceback  # the other formatters print local variables, and those hold secrets
    render = structlog.dev.ConsoleRenderer(colors=colours, exception_formatter=plain) if console else _render_json

    def clip(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        return {key: redact.clip(value) for key, value in event.items() if value is not None}

    def write(_: Any, __: str, event: Any) -> str:
        return redact(event)

    global _access
    _access = _Access(number <= logging.INFO, None if console else redact, _stream_of(out))
    structlog.configure(
        processors=[
            structlog.stdlib.add_log_level,
            structlog.processors.TimeStamper(fmt="%H:%M:%S" if console else "iso", utc=not console),
            clip,
            structlog.processors.format_exc_info if not console else _as_is,
            render,
            write,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=_LoggerFactory(out),
        cache_logger_on_first_use=False,
    )
    handler = _Forward()
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("watchfiles").setLevel(logging.ERROR)  # it would tell of the change that telling it made
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.ERROR if number > logging.DEBUG else logging.DEBUG)


@dataclass(frozen=True, slots=True)
class _Access:
    """How lines of the access log are written."""

    wanted: bool
    redact: Redactor | None
    """None where they take the way of all other lines."""
    stream: LogStream


class AccessLog:
    """The lines that each request leaves: kept for a moment, and written together. `flush` at the end."""

    def __init__(self) -> None:
        self._lines: list[tuple[float, dict[str, Any]]] = []
        self._timer: asyncio.TimerHandle | None = None

    def write(self, at: float, fields: dict[str, Any]) -> None:
        """
        Args:
            at: seconds since 1970.
        """
        if _access is None or not _access.wanted:
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
        if _access is None or _access.redact is None:
            for _, fields in lines:
                structlog.get_logger("gateway.access").info("request", **fields)
        elif lines:
            redact = _access.redact
            _access.stream.write(redact("".join([_access_line(at, fields, redact) for at, fields in lines])))


def _access_line(at: float, fields: dict[str, Any], redact: Redactor) -> str:
    line: dict[str, Any] = {
        name: redact.clip(value) if type(value) is Clipped else value
        for name, value in fields.items()
        if value is not None
    }
    line |= {"event": "request", "level": "info", "timestamp": _iso(at)}
    return _render_json(None, "", line) + "\n"


def _iso(at: float) -> str:
    second = int(at)
    return f"{_second(second)}.{int((at - second) * 1_000_000):06}Z"


@functools.lru_cache(maxsize=8)
def _second(at: int) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def configure_for(config: Config, *, at_least: str | None = None) -> None:
    """Set up logging as a configuration asks; `at_least` keeps one-shot verbs quiet unless the user asked for more."""
    settings = config.gateway
    level = settings.log_level if at_least is None or settings.log_level != "info" else at_least
    configure("debug" if settings.debug else level, settings.log_format, Redactor(config.secrets))


class _LoggerFactory:
    """Loggers that know their name and all write to one stream."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = cast(TextIO, _stream_of(stream))

    def __call__(self, *args: Any) -> structlog.WriteLogger:
        return structlog.WriteLogger(self._stream)


@functools.lru_cache(maxsize=1)  # what it keeps outlives a reload
def _stream_of(stream: TextIO) -> LogStream:
    return LogStream(stream, lambda lines: structlog.get_logger("gateway").warning("log lines lost", lines=lines))


class _Forward(logging.Handler):
    """Brings what libraries log through the standard library into the same form."""

    def emit(self, record: logging.LogRecord) -> None:
        logger = structlog.get_logger()
        logger.log(record.levelno, record.getMessage(), logger=record.name, exc_info=record.exc_info or None)


def _as_is(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    return event


def _render_json(_: Any, __: str, event: MutableMapping[str, Any]) -> str:
    try:
        return orjson.dumps(event, default=str).decode()
    except TypeError:  # half a surrogate pair, or an integer beyond 64 bits: a peer's text must not break the log
        return json.dumps(event, default=str)
