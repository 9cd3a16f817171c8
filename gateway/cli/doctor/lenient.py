"""Reads a configuration as far as it goes: servers that lack something are set aside, so that others can be tried."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from gateway.cli.doctor.findings import Finding
from gateway.config.models import OutOfOrder
from gateway.config.reading import entries, envfile
from gateway.config.reading.expand import Expander
from gateway.config.reading.loader import load
from gateway.config.reading.problems import Problems
from gateway.config.reading.source import ConfigDocument, Place, read
from gateway.errors import ConfigError

if TYPE_CHECKING:
    from gateway.config.models import Config

_REFERENCE: Final = re.compile(r"\$\{(?:env:)?([A-Za-z_][A-Za-z0-9_]*)\}")
_STAND_IN: Final = "http://unset.invalid"
"""What an unset variable is taken to be, so that the rest can be validated. Servers with it are not tried."""


@dataclass(slots=True)
class LenientReading:
    """What came of it."""

    config: "Config | None" = None
    """Without the servers set aside; None when nothing can be made of the file."""
    findings: list[Finding] = field(default_factory=list[Finding])
    set_aside: set[str] = field(default_factory=set[str])
    refused: str = ""
    """Why there is no `config`."""


def read_leniently(path: Path) -> LenientReading:
    """Read and validate the file, and say what is wrong with it."""
    try:
        return LenientReading(load(path))
    except ConfigError as error:
        refused = error.message.splitlines()
    reading = LenientReading()
    missing = dict[str, list[str]]()
    for where, server, name in _unset(path):
        missing.setdefault(name, []).append(where)
        if server is not None:
            reading.set_aside.add(server)
    for name, places in missing.items():
        text = f"the environment variable {name} is not set; it is used in {', '.join(places)}"
        remedy = f"export {name}=…, or put {name}=… into {envfile.beside(path)}"
        reading.findings.append(Finding("problem", text, remedy))
    if missing:
        try:
            config = load(path, environ={**os.environ, **dict.fromkeys(missing, _STAND_IN)})
            kept = {name: server for name, server in config.servers.items() if name not in reading.set_aside}
            reading.config = config.model_copy(update={"servers": kept})
            return reading
        except ConfigError as error:
            refused = error.message.splitlines()
    for line in refused:
        text, _, remedy = line.rpartition("; ")
        reading.findings.append(Finding("problem", text, remedy) if text else Finding("problem", line))
    if not missing and (config := _without_lacking(path)) is not None:
        reading.set_aside |= {name for name, server in config.servers.items() if isinstance(server, OutOfOrder)}
        kept = {name: server for name, server in config.servers.items() if name not in reading.set_aside}
        reading.config = config.model_copy(update={"servers": kept, "warnings": []})
    else:
        reading.refused = "\n".join(refused)
    return reading


def _without_lacking(path: Path) -> "Config | None":
    """The configuration, if all that is wrong with it is what some servers lack, such as a file with a secret."""
    try:
        return load(path, strict=False)
    except ConfigError:
        return None


def references(document: ConfigDocument) -> list[str]:
    """The variables that the file cannot do without: all that it refers to without giving a default."""
    names: dict[str, None] = {}
    for _, place, value in _values(document):
        expander = Expander({})
        expander.expand(value, place)
        for fault in expander.faults:
            names |= dict.fromkeys(_REFERENCE.findall(str(document.written(fault.place))))
    return [name for name in names if name != "GATEWAY_PYTHON"]


def _unset(path: Path) -> Iterator[tuple[str, str | None, str]]:
    """Each reference to an unset variable: where it stands, the server it belongs to, its name."""
    try:
        document = read(path)
    except ConfigError:
        return
    variables = envfile.beneath(os.environ, Path(".env"), envfile.beside(path))
    for server, place, value in _values(document):
        expander = Expander(variables)
        expander.expand(value, place)
        for fault in expander.faults:
            written = str(document.written(fault.place))
            for name in dict.fromkeys(_REFERENCE.findall(written)):
                if name not in variables and name != "GATEWAY_PYTHON":
                    yield f"{document.name}:{document.line(fault.place)}", server, name


def _values(document: ConfigDocument) -> Iterator[tuple[str | None, Place, object]]:
    yield None, ("gateway",), document.written(("gateway",))
    for entry in entries.find(document, Problems(), [], required=False):
        given = dict(entry.values)
        entries.canonical(entry, Problems())
        if not entries.is_disabled(entry):
            yield entry.name, entry.place, given
