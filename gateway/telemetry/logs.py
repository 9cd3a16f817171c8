"""What the gateway logs and how: JSON lines for machines, a readable form for a terminal; on stderr or in a file.

Nothing that the configuration holds as a secret gets through: every rendered line is searched for those values last of
all, whoever wrote it and in whatever field.
"""

import functools
import json
import logging
import os
import re
import sys
from collections.abc import Collection, MutableMapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, Protocol, TextIO, cast

import orjson
import structlog

from gateway.config.models import Config
from gateway.errors import ConfigError
from gateway.harmless import Clipped
from gateway.telemetry import level_control
from gateway.telemetry.log_file import LogFile
from gateway.telemetry.log_stream import LogStream

worker: int | None = None
"""Which worker of `serve --workers` this process is; each of its lines says so."""
_access: "Access | None" = None
_sink: "Sink | None" = None
_files: "dict[Path, LogFile]" = {}
"""Those that are open; they outlive a reload."""
MASK: Final = "***"
FEW: Final = 32
"""Secrets that are looked for one by one."""
SHORTEST_LINE: Final = 6
"""Characters of a line of a secret that is masked also without the others."""
_FRAME: Final = "-----"
_QUIET: Final = ("httpx2", "httpcore2", "mcp", "client", "asyncio")
"""Loggers of libraries that say more than an operator wants at `info`."""


class Sink(Protocol):
    """Where lines go; none of this waits."""

    dropped: int
    """Lines that were lost, ever."""

    def write(self, text: str) -> None: ...
    def flush(self) -> None: ...


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
        self._few = longest_first if len(longest_first) <= FEW else None

    def __call__(self, text: str) -> str:
        if self._pattern is None or (self._few is not None and not any(map(text.__contains__, self._few))):
            return text  # each is found faster than all at once
        return self._pattern.sub(MASK, text)

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
    level: str,
    form: Literal["auto", "json", "console"],
    redact: Redactor,
    stream: TextIO | None = None,
    *,
    file: LogFile | None = None,
    access_file: LogFile | None = None,
    has_access: bool = True,
) -> None:
    """Set up logging for the process. The last call counts.

    Args:
        stream: where the log goes if not to a `file`; stderr when None.
        access_file: where the access log goes, whatever the level, as JSON; with the log when None.
        has_access: whether there is one.
    """
    out = stream or sys.stderr
    is_terminal = file is None and out.isatty()
    sink: Sink = _stream_of(out) if file is None else file
    console = form == "console" or (form == "auto" and is_terminal)
    number = getattr(logging, level.upper())
    colours = is_terminal and not os.environ.get("NO_COLOR")
    plain = structlog.dev.plain_traceback  # the other formatters print local variables, and those hold secrets
    render = structlog.dev.ConsoleRenderer(colors=colours, exception_formatter=plain) if console else render_json

    def clip(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        return {key: redact.clip(value) for key, value in event.items() if value is not None}

    def write(_: Any, __: str, event: Any) -> str:
        return redact(event)

    def say_who(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        return {"worker": worker, **event} if worker is not None else event

    global _access, _sink
    _sink = sink
    wanted = has_access and (access_file is not None or number <= logging.INFO)
    _access = Access(wanted, redact, access_file or (None if console else sink))
    structlog.configure(
        processors=[
            structlog.stdlib.add_log_level,
            structlog.processors.TimeStamper(fmt="%H:%M:%S" if console else "iso", utc=not console),
            say_who,
            clip,
            structlog.processors.format_exc_info if not console else _as_is,
            render,
            write,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=_LoggerFactory(sink),
        cache_logger_on_first_use=False,
    )
    handler = _Forward()
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("watchfiles").setLevel(logging.ERROR)  # it would tell of the change that telling it made
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.ERROR if number > logging.DEBUG else logging.DEBUG)


@dataclass(frozen=True, slots=True)
class Access:
    """How lines of the access log are written."""

    wanted: bool
    redact: Redactor
    sink: Sink | None
    """None where they take the way of all other lines."""


def access() -> Access | None:
    """How lines of the access log are written now; None before logging is set up."""
    return _access


def lines_dropped() -> int:
    """How many lines nobody took in time."""
    sinks: set[Sink | None] = {_sink, *_files.values()}
    return sum(sink.dropped for sink in sinks if sink is not None)


def configure_for(config: Config, *, at_least: str | None = None) -> None:
    """Set up logging as a configuration asks; `at_least` keeps one-shot verbs quiet unless the user asked for more,
    and off the gateway's files.

    Raises:
        ConfigError: a log's file cannot be written to. Those that are open already are not asked again.
    """
    settings = config.gateway
    level = settings.log_level if at_least is None or settings.log_level != "info" else at_least
    level = level_control.configured("debug" if settings.debug else level)
    file = access_file = None
    if at_least is None:
        file = _opened("log_file", settings.log_file)
        access_file = _opened("access_log.file", settings.access_log.file)
    configure(
        level,
        settings.log_format,
        Redactor(config.secrets),
        file=file,
        access_file=access_file,
        has_access=settings.access_log.enabled,
    )


def reopen() -> None:
    """Somebody has put other files in the place of those that are written to."""
    for file in _files.values():
        file.reopen()


def _opened(setting: str, path: Path | None) -> LogFile | None:
    if path is None:
        return None
    if path not in _files:
        file = LogFile(path, _say_lost, _say_trouble)
        try:
            file.open()
        except OSError as error:
            raise ConfigError(f"gateway.{setting}: {path} cannot be written to ({error.strerror}).") from None
        _files[path] = file
    return _files[path]


def _say_lost(lines: int) -> None:
    structlog.get_logger("gateway").warning("log lines lost", lines=lines)


def _say_trouble(reason: str) -> None:
    """The log cannot say it itself."""
    with suppress(OSError, ValueError):
        sys.stderr.write(f"mcp-gateway: the log cannot be written: {reason}\n")


class _LoggerFactory:
    """Loggers that know their name and all write to one stream."""

    def __init__(self, sink: Sink) -> None:
        self._stream = cast(TextIO, sink)

    def __call__(self, *args: Any) -> structlog.WriteLogger:
        return structlog.WriteLogger(self._stream)


@functools.lru_cache(maxsize=1)  # what it keeps outlives a reload
def _stream_of(stream: TextIO) -> LogStream:
    return LogStream(stream, _say_lost)


class _Forward(logging.Handler):
    """Brings what libraries log through the standard library into the same form."""

    def emit(self, record: logging.LogRecord) -> None:
        logger = structlog.get_logger()
        logger.log(record.levelno, record.getMessage(), logger=record.name, exc_info=record.exc_info or None)


def _as_is(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    return event


def render_json(_: Any, __: str, event: MutableMapping[str, Any]) -> str:
    try:
        return orjson.dumps(event, default=str).decode()
    except TypeError:  # half a surrogate pair, or an integer beyond 64 bits: a peer's text must not break the log
        return json.dumps(event, default=str)
