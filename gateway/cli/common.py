"""What the verbs share: the options every one has, reading the configuration, and exit codes.

Imports of weight stand inside the functions that need them: `VERB --help` loads neither pydantic nor the SDK.
"""

import gc
import os
import sys
from collections.abc import Callable, Collection
from enum import IntEnum
from functools import partial, wraps
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeVar

import click

from gateway.errors import ConfigError, GatewayError

if TYPE_CHECKING:
    from gateway.config.models import Config
    from gateway.config.reading.loader import Ask
    from gateway.config.reading.rereading import Reading

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")

COLLECT_AFTER: Final = (5_000, 4, 4)
"""When garbage is looked for (`gc.set_threshold`). Calls leave none, and what is new while many are under way is
not worth a look after every 700 objects. All is looked through as often as with Python's own (700, 10, 10)."""


class Exit(IntEnum):
    """The exit codes of every verb."""

    FINE = 0
    FOUND = 1
    """A check found a problem, or a call failed."""
    USAGE = 2
    """Wrong usage, or a configuration that cannot be used."""
    NOT_STARTED = 3
    INTERRUPTED = 130


def import_structlog() -> None:
    """Import it without rich, which it would import if it can, for tracebacks that are never shown here (they print
    local variables, and those hold secrets): 4 MiB of every gateway, and some of the time it takes to start. To be
    called before anything else imports it."""
    if "rich" in sys.modules:
        return
    sys.modules["rich"] = None  # pyright: ignore[reportArgumentType]  # how one says that there is none
    try:
        import_module("structlog")
    finally:
        del sys.modules["rich"]


def fail(message: str, code: Exit) -> NoReturn:
    click.echo(f"mcp-gateway: {message}", err=True)
    sys.exit(code)


config_option = click.option("-c", "--config", "path", type=click.Path(path_type=Path), help="The configuration file.")
"""For a verb that finds and reads the configuration in its own way; `with_config` brings it along."""

file_argument = click.argument("file", metavar="[FILE]", required=False, type=click.Path(path_type=Path))
"""The configuration file, named without `-c`."""

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")


def with_config(verb: F) -> F:
    """Give a verb the `reading_options`, and a loaded `config` as its first argument."""

    @wraps(verb)
    def wrapper(read: "Callable[[], Config]", **options: Any) -> Any:
        return verb(or_fail(read), **options)

    return with_reader(wrapper)  # pyright: ignore[reportReturnType]


def with_reader(verb: F) -> F:
    """As `with_config`, for a verb that reads the configuration again and again: its first argument does that."""

    @reading_options
    @wraps(verb)
    def wrapper(path: Path | None, log_level: str | None, log_format: str | None, strict: bool, **options: Any) -> Any:
        overrides = {"log_level": log_level, "log_format": log_format}
        overrides |= {name: options.pop(name) for name in ("host", "port") if name in options}
        path = options.pop("file", None) or path
        return verb(or_fail(partial(reader, path, overrides, strict=strict)), **options)

    return wrapper  # pyright: ignore[reportReturnType]


def reading_options(verb: F) -> F:
    """The options of whoever reads the configuration: `path`, `log_level`, `log_format`, `strict`."""
    for option in (
        click.option("--strict", is_flag=True, help="Refuse to start when a server lacks a variable."),
        click.option("--log-format", type=click.Choice(["auto", "json", "console"]), help="How to write the log."),
        click.option("--log-level", help="debug, info, warning, error or critical."),
        config_option,
    ):
        verb = option(verb)
    return verb


def reader(
    path: Path | None, overrides: dict[str, Any], *, strict: bool, here: bool = True, ask: "Ask" = "all"
) -> "Reading":
    """Find the configuration; returns what reads it.

    Args:
        strict: whether a server that lacks a variable makes the whole unusable.
        here: whether the working directory may decide, as in `find_config`; if not, nothing in it is read unasked.
        ask: as for `load`.

    Raises:
        ConfigError: there is none. What is returned raises it too.
    """
    from gateway.config.reading.envfile import beside
    from gateway.config.reading.locate import find_config
    from gateway.config.reading.rereading import Reading

    found = find_config(path, dotenv=Path(".env") if here else None, here=here)
    dotenv = Path(".env") if here else beside(found.path)
    return Reading(found.path, overrides, dotenv, strict, ask)


def read_config(path: Path | None, overrides: dict[str, Any]) -> "Config":
    """Find and read the configuration for its settings, or say all that is wrong with it and exit."""
    read = or_fail(partial(reader, path, overrides, strict=False, ask="settings"))
    return or_fail(read)


def or_fail(read: Callable[[], T]) -> T:
    """What `read` returns, or say all that is wrong with the configuration and exit."""
    try:
        return read()
    except ConfigError as error:
        fail(error.message, Exit.USAGE)


def check_names(config: "Config", servers: Collection[str]) -> None:
    """Exit, saying why, unless all of these are enabled servers."""
    from gateway.config.reading.problems import closest

    for name in servers:
        if name not in config.servers:
            meant = closest(name, config.servers)
            hint = f"did you mean {meant!r}?" if meant else f"there are {', '.join(config.servers) or 'none'}"
            fail(f"no server {name!r} in {config.path}; {hint}", Exit.USAGE)
        if name not in config.enabled:
            fail(f"server {name!r} is disabled in {config.path}", Exit.USAGE)


profile_option = click.option("--profile", metavar="NAME", help="Only what this profile of the configuration shows.")


def check_profile(config: "Config", name: str | None) -> None:
    """Exit, saying why, unless there is such a profile or none is named."""
    from gateway.config.reading.problems import closest

    if name is not None and name not in config.profiles:
        meant = closest(name, config.profiles)
        hint = f"did you mean {meant!r}?" if meant else f"there are {', '.join(config.profiles) or 'none'}"
        fail(f"no profile {name!r} in {config.path}; {hint}", Exit.USAGE)


def configure_logs(config: "Config", *, at_least: str | None = None) -> None:
    """As `telemetry.logs.configure_for`."""
    from gateway.telemetry.logs import configure_for

    try:
        configure_for(config, at_least=at_least)
    except ConfigError as error:
        fail(error.message, Exit.NOT_STARTED)


def run_once(main: Callable[..., Any], *args: Any) -> Any:
    """As `run`, for a verb that somebody waits for: Ctrl-C ends it at once."""
    import signal

    before = signal.signal(signal.SIGINT, _leave_at_once)
    try:
        return run(main, *args)
    finally:
        signal.signal(signal.SIGINT, before)


def _leave_at_once(number: int, frame: Any) -> NoReturn:
    """Nothing is awaited, not even the end of the servers: the guardian sees to that once we are gone."""
    try:
        if sys.stderr.isatty():
            sys.stderr.write("\r\x1b[K")
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
    finally:
        os._exit(Exit.INTERRUPTED)  # also where the signal came in the middle of a write, which cannot be flushed


def run(main: Callable[..., Any], *args: Any) -> Any:
    """Run a coroutine function on the fast loop, turning what can go wrong into an exit code."""
    import anyio

    gc.set_threshold(*COLLECT_AFTER)
    try:
        return anyio.run(main, *args, backend_options={"use_uvloop": sys.platform != "win32"})
    except GatewayError as error:
        fail(error.message, Exit.NOT_STARTED)
    except BaseExceptionGroup as group:
        fail(_message_of(group), Exit.NOT_STARTED)
    except KeyboardInterrupt:
        sys.exit(Exit.INTERRUPTED)


def _message_of(group: BaseExceptionGroup) -> str:
    """What a task group's end was about, if that is an error of ours: nobody wants to read its traceback.

    Raises:
        BaseExceptionGroup: it is a defect.
    """
    ours, defects = group.split(GatewayError)
    while isinstance(ours, BaseExceptionGroup):
        ours = ours.exceptions[0]
    if defects is not None or not isinstance(ours, GatewayError):
        raise group
    return ours.message
