"""`mcp-gateway check`: is the configuration valid? Reads files only; nothing is started, nobody is asked."""

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from gateway.cli.common import Exit, config_option, file_argument, json_option
from gateway.cli.ui.terminal import bold, dim, harmless, mark, plural, print_json, table, width, wrapped
from gateway.errors import ConfigError

if TYPE_CHECKING:
    from gateway.config.models import Config, ServerConfig

_PLACED: Final = re.compile(
    r"(?P<file>.+?):(?P<line>[0-9]+): (?:server (?P<quote>['\"])(?P<server>.+?)(?P=quote): )?"
    r"(?:(?P<field>[^\s:]+): )?(?P<message>.*)"
)


@click.command("check")
@file_argument
@config_option
@json_option
def command(file: Path | None, path: Path | None, as_json: bool) -> None:
    """Validate the configuration, offline: says what is wrong, in which file, on which line.

    Exits with 2 when it cannot be used, or when a server lacks a variable or a file: the gateway would start without
    that one. Warnings do not count. Commands for secrets (`${command:…}`) are not run, and the keyring is not asked: it
    says what a gateway would run and ask.
    """
    from gateway.config.reading.loader import load
    from gateway.config.reading.locate import find_config

    try:
        found = find_config(file or path)
        config = load(found.path, ask="none")
    except ConfigError as error:
        _print_errors(error.message.splitlines(), _starts_regardless(file or path), as_json)
        sys.exit(Exit.USAGE)
    from gateway.cli.doctor.names import remarks

    warnings = [*config.warnings, *remarks(config)]
    if as_json:
        print_json(_as_json(config, found.is_demo, warnings))
    else:
        _print(config, found.is_demo, warnings)


def _starts_regardless(path: Path | None) -> bool:
    """Whether all that is wrong is what some servers lack."""
    from gateway.config.reading.loader import load
    from gateway.config.reading.locate import find_config

    try:
        load(find_config(path).path, strict=False, ask="none")
    except ConfigError:
        return False
    return True


def _print_errors(errors: list[str], starts: bool, as_json: bool) -> None:
    if as_json:
        print_json({"valid": False, "errors": [_placed(line) for line in errors]})
    else:
        for line in errors:
            click.echo(f"{mark('problem')} {_shown(line)}", err=True)
        consequence = "the gateway starts without these servers" if starts else "the gateway does not start"
        click.echo(f"\n{plural(len(errors), 'error')}; {consequence}.", err=True)


def _placed(line: str) -> dict[str, Any]:
    """A message in its parts: `file`, `line`, `server` and `field` as far as it has them, and `message`."""
    match = _PLACED.fullmatch(line)
    if match is None:
        return {"message": line}
    parts = {key: value for key, value in match.groupdict().items() if value is not None and key != "quote"}
    return {**parts, "line": int(parts["line"])}


def _shown(line: str) -> str:
    match = _PLACED.fullmatch(line)
    if match is not None:
        end = match.end("line") + 1
        line = bold(line[:end]) + line[end:]
    return wrapped(line, 2, width(sys.stderr))


# --- A valid one --------------------------------------------------------------------------------------------------


def _print(config: "Config", is_demo: bool, warnings: list[str]) -> None:
    from gateway.telemetry.logs import Redactor

    redact = Redactor(config.secrets)
    what = " (the one that comes with mcp-gateway)" if is_demo else ""
    click.echo(f"{mark('ok')} {bold(str(config.path))} is valid{what}")
    for other in config.files[1:]:
        click.echo(f"  {dim('with')} {other}")
    if config.servers:
        rows = [(name, server.type, _when(server), redact(reach(server))) for name, server in config.servers.items()]
        click.echo()
        header = ("SERVER", "TRANSPORT", "STARTS", "COMMAND OR URL")
        click.echo(
            "\n".join(table(rows, header=header, styles=(bold, None, None, dim), limit=width(sys.stdout), indent=2))
        )
    if warnings:
        click.echo()
    for warning in warnings:
        click.echo(f"{mark('note')} {_shown(redact(warning))}")


def _when(server: "ServerConfig") -> str:
    return "disabled" if server.disabled else "when called" if server.lazy else "at once"


def reach(server: "ServerConfig") -> str:
    """The command line or the URL, on one line. May contain secrets."""
    where = server.openapi.document if server.openapi is not None else server.url or ""
    return harmless(" ".join([server.command or "", *server.args]) if server.type == "stdio" else where)


def _as_json(config: "Config", is_demo: bool, warnings: list[str]) -> dict[str, Any]:
    return {
        "valid": True,
        "file": str(config.path),
        "demo": is_demo,
        "files": [str(path) for path in config.files],
        "servers": [
            {"name": name, "transport": server.type, "disabled": server.disabled, "lazy": server.lazy}
            for name, server in config.servers.items()
        ],
        "warnings": [_placed(line) for line in warnings],
    }
