"""Finds the configuration file, and says whether it is only the demonstration that ships with the gateway."""

import importlib.resources
import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from gateway.config.models.fields import home
from gateway.config.reading import envfile
from gateway.errors import ConfigError

FILE_NAME = "servers.yaml"


class Found(NamedTuple):
    """A configuration file."""

    path: Path
    is_demo: bool
    """Whether it is the one that ships with the gateway: nobody chose it."""


def find_config(
    explicit: Path | None,
    environ: Mapping[str, str] = os.environ,
    *,
    dotenv: Path | None = Path(".env"),
    here: bool = True,
) -> Found:
    """The file to use: `explicit`, `$GATEWAY_CONFIG`, `./servers.yaml`, `$XDG_CONFIG_HOME/mcp-gateway/servers.yaml`.

    When there is none, `$GATEWAY_UPSTREAM_CONFIG_FILE` alone is configuration enough; else it is the demonstration.
    Variables may stand in `dotenv` as well.

    Args:
        here: Whether the working directory may decide. Not where a program chose it: a client starts the gateway in
            whatever folder is open, and a folder that somebody cloned must not start programs.

    Raises:
        ConfigError: a file that was asked for does not exist, or there is none at all.
    """
    if explicit is not None:
        return _chosen(explicit, str(explicit))
    environ = envfile.beneath(environ, dotenv)
    if named := environ.get("GATEWAY_CONFIG"):
        return _chosen(Path(os.path.expanduser(named)), f"{named} (from $GATEWAY_CONFIG)")
    usual = [*([Path(FILE_NAME)] if here else []), config_home(environ) / FILE_NAME]
    for path in usual:
        if os.path.isfile(path):
            return Found(path, _is_demo(path))
    if upstreams := environ.get("GATEWAY_UPSTREAM_CONFIG_FILE"):
        return _chosen(Path(os.path.expanduser(upstreams)), f"{upstreams} (from $GATEWAY_UPSTREAM_CONFIG_FILE)")
    if demo := demo_file():
        return Found(demo, True)
    raise ConfigError(
        f"no configuration; write one of {' and '.join(str(path) for path in usual)}, or name it with --config"
    )


def passed_over(used: Path, *, named: bool, environ: Mapping[str, str] = os.environ) -> list[Path]:
    """What lies in the working directory and would have counted if that were allowed to decide; absolute.

    Args:
        used: the configuration file.
        named: whether it was named on the command line.
    """
    own = {os.path.realpath(path) for path in (used, envfile.beside(used))}
    candidates = [Path(".env")] if named or environ.get("GATEWAY_CONFIG") else [Path(FILE_NAME), Path(".env")]
    return [path.absolute() for path in candidates if os.path.isfile(path) and os.path.realpath(path) not in own]


def _chosen(path: Path, name: str) -> Found:
    if os.path.isdir(path):  # Path's own raise where a folder may not be entered
        raise ConfigError(f"{name}: is a folder; name the file in it")
    if not os.path.exists(path):
        raise ConfigError(f"{name}: there is no such file; check the path")
    return Found(path, _is_demo(path))


def config_home(environ: Mapping[str, str]) -> Path:
    """`$XDG_CONFIG_HOME/mcp-gateway`, else `~/.config/mcp-gateway`. The XDG rules ignore a relative value."""
    given = Path(environ.get("XDG_CONFIG_HOME", ""))
    return (given if given.is_absolute() else home() / ".config") / "mcp-gateway"


def demo_file() -> Path | None:
    """The demonstration: inside the package once installed, at the root of the repository before."""
    packaged = Path(str(importlib.resources.files("gateway.demo"))) / FILE_NAME
    return next((path for path in (packaged, packaged.parents[2] / FILE_NAME) if path.is_file()), None)


def _is_demo(path: Path) -> bool:
    demo = demo_file()
    return demo is not None and os.path.realpath(path) == os.path.realpath(demo)
