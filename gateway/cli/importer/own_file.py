"""The configuration file that `init`, `add`, `remove` and `import` write to, and the `.env` beside it for secrets."""

import difflib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, NoReturn

import click

from gateway.cli.common import Exit, fail
from gateway.cli.ui.terminal import dim, harmless
from gateway.errors import ConfigError

HEADER: Final = (
    "# The MCP servers behind the gateway. `mcp-gateway check` tells what is wrong with this file, and where.\n\n"
)


def in_use() -> Path:
    """The configuration that `serve` would use; if that is only the packaged one, where to put one's own."""
    from gateway.config.reading.locate import FILE_NAME, config_home, find_config

    try:
        found = find_config(None)
    except ConfigError:
        found = None
    if found is not None and (not found.is_demo or found.path == Path(FILE_NAME)):
        return found.path
    return config_home(os.environ) / FILE_NAME


def servers_in(data: Any) -> dict[str, Any]:
    """The entries of a parsed file, as written."""
    from gateway.config.reading.entries import ROOTS
    from gateway.config.reading.source import mapping

    roots = mapping(data) or {}
    return {name: values for root in ROOTS for name, values in (mapping(roots.get(root)) or {}).items()}


def port_in(data: Any) -> int:
    """Where the gateway of a parsed file listens."""
    from gateway.config.models.settings import GatewaySettings
    from gateway.config.reading.source import mapping

    settings = mapping((mapping(data) or {}).get("gateway")) or {}
    written = str(settings.get("port"))
    return int(written) if written.isdecimal() else GatewaySettings().port


def show_difference(before: str, after: str, name: str) -> None:
    """What would change, as a diff."""
    colours = {"+": "green", "-": "red", "@": "cyan"}
    click.echo(dim(f"What would change in {name}:"))
    lines = list(difflib.unified_diff(before.splitlines(), after.splitlines(), lineterm=""))
    for line in lines[2:]:
        click.echo(click.style(harmless(line), fg=colours.get(line[:1])))


def left_as_it_was(target: Path, error: Exception, more: str = "") -> NoReturn:
    """Say why nothing was written, and exit."""
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    fail(f"{target} was left as it is: {harmless(reason)}{more}", Exit.USAGE)


# --- Secrets --------------------------------------------------------------------------------------------------------


def known_variables(target: Path) -> dict[str, str]:
    """What `${NAME}` in the file stands for, as far as it is set."""
    from gateway.config.reading import envfile

    return envfile.beneath(os.environ, Path(".env"), envfile.beside(target))


def keep_secrets(target: Path, secrets: Mapping[str, str]) -> Path:
    """Add variables to the `.env` beside the file; a new one is for its owner alone.

    Raises:
        ConfigError, OSError: it cannot be read or written, or cannot hold one of the values. It is as it was.
    """
    from gateway.cli.importer.replace import write
    from gateway.config.reading import envfile
    from gateway.config.reading.source import read_text

    path = envfile.beside(target)
    before = read_text(path, str(path)) if path.exists() else ""
    text = before + ("" if before.endswith("\n") or not before else "\n")
    text += "".join(_assignment(name, value) for name, value in secrets.items())
    if any(envfile.parse(text, str(path))[0].get(name) != value for name, value in secrets.items()):
        raise ConfigError(f"{path}: cannot hold the values of {', '.join(secrets)}")
    write(path, text, private=True)
    return path


def _assignment(name: str, value: str) -> str:
    """The first way to write it that means it."""
    from gateway.config.reading import envfile

    quoted = (value.replace("\\", "\\\\").replace(mark, f"\\{mark}") for mark in ("'", '"'))
    ways = [value, *(f"{mark}{text}{mark}" for mark, text in zip("'\"", quoted, strict=True))]
    lines = (f"{name}={way}\n" for way in ways)
    following = "NEXT='x'\n"  # a quote that is not closed shows only with something after it
    means = (line for line in lines if envfile.parse(line + following, "") == ({name: value, "NEXT": "x"}, []))
    return next(means, f"{name}={value}\n")


def is_in_repository(path: Path) -> bool:
    """Whether a file could be committed by mistake."""
    return any((folder / ".git").exists() for folder in path.absolute().parents)


def tell_of_secrets(path: Path, names: Iterable[str]) -> None:
    click.echo(f"Their values are in {path}, which is yours alone to read: {', '.join(names)}.")
    if is_in_repository(path):
        click.echo("Keep it out of git: add .env to .gitignore.")
