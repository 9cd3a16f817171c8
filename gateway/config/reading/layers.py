"""Lays the sources of the gateway's own settings over each other: file, `.env`, environment, command line.

The later wins, value by value; a message about a value names the layer it came from.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from gateway.config.models.fields import absolute_path
from gateway.config.models.settings import GatewaySettings
from gateway.config.reading.problems import Problems, details, dotted, explain
from gateway.config.reading.source import ConfigDocument, Place, mapping

ROOT: Final = "gateway"
_PATHS: Final[tuple[Place, ...]] = (
    ("auth", "api_keys_file"),
    *(("tls", name) for name in ("cert", "key", "client_ca")),
    *(("log_file",), ("access_log", "file"), ("audit", "file"), ("audit", "heads")),
    ("upstream_config_file",),
    ("state_dir",),
)


@dataclass(frozen=True, slots=True)
class Layer:
    """One source of settings."""

    values: Mapping[str, Any]
    """What it gives; paths are absolute."""
    report: Callable[[Problems, Place, str], None]
    """Say that something is wrong with the value at a place."""
    written: Callable[[Place], Any]
    """The value at a place before anything was expanded."""


def from_default(values: Mapping[str, Any]) -> Layer:
    """Defaults that depend on where the gateway runs."""
    return _layer(values, dotted)


def from_file(document: ConfigDocument, values: Mapping[str, Any]) -> Layer:
    """The `gateway:` block of a file; `values` is that block, expanded."""

    def report(problems: Problems, place: Place, what: str) -> None:
        problems.add(document, (ROOT, *place), dotted((ROOT, *place)), what)

    return Layer(_absolute(values, document.folder), report, lambda place: document.written((ROOT, *place)))


def from_environment(
    variables: Mapping[str, str], layer: str, warnings: list[str], folder: Path | None = None
) -> Layer:
    """The `GATEWAY_…` variables among `variables`; paths are relative to `folder`, else to the working directory."""
    if not any(name.upper().startswith("GATEWAY_") for name in variables):
        return from_default({})
    from gateway.config.reading import environment  # pydantic-settings takes longer to import than everything else here

    found = environment.read(variables, layer)
    warnings += found.warnings
    return _layer(found.values, found.name, folder)


def from_command_line(overrides: Mapping[str, Any]) -> Layer:
    """Settings given as options; keys may be dotted (`auth.enabled`), and `None` means not given."""
    values: dict[str, Any] = {}
    for key, value in overrides.items():
        if value is not None:
            first, *rest = key.split(".")
            for step in reversed(rest):
                value = {step: value}
            values = _over(values, {first: value})
    return _layer(values, lambda place: f"command line: {dotted(place)}")


def _layer(values: Mapping[str, Any], name: Callable[[Place], str], folder: Path | None = None) -> Layer:
    """A layer outside any file; `name` says what messages call a place."""

    def report(problems: Problems, place: Place, what: str) -> None:
        problems.add_line(f"{name(place)}: {what}")

    return Layer(_absolute(values, folder or Path.cwd()), report, lambda place: _at(values, place))


def merge(layers: Iterable[Layer]) -> dict[str, Any]:
    """All settings that were given."""
    merged: dict[str, Any] = {}
    for layer in layers:
        merged = _over(merged, layer.values)
    return merged


def validate(layers: list[Layer], problems: Problems) -> GatewaySettings | None:
    """The settings, or None after saying what is wrong with them."""
    try:
        return GatewaySettings.model_validate(merge(layers))
    except ValidationError as error:
        for each in details(error):
            place = tuple(each["loc"])
            layer = owner(layers, place)
            layer.report(problems, place, explain(each, GatewaySettings, layer.written(place)))
        return None


def owner(layers: list[Layer], place: Place) -> Layer:
    """The layer that decides the setting at `place`, or the nearest around it."""
    while place:
        for layer in reversed(layers):
            if _at(layer.values, place) is not None:
                return layer
        place = place[:-1]
    return layers[0]


def _at(values: Any, place: Place) -> Any:
    for step in place:
        try:
            values = values[step]
        except (LookupError, TypeError):
            return None
    return values


def _absolute(values: Mapping[str, Any], folder: Path, outer: Place = ()) -> dict[str, Any]:
    """With paths relative to `folder` made absolute; without what has no value, such as a path `${NAME:-}`."""
    absolute: dict[str, Any] = {}
    for key, value in values.items():
        place = (*outer, key)
        if (inner := mapping(value)) is not None:
            absolute[key] = _absolute(inner, folder, place)
        elif place in _PATHS and isinstance(value, str | Path):
            if str(value):
                absolute[key] = absolute_path(str(value), folder)
        elif value is not None:
            absolute[key] = value
    return absolute


def _over(lower: Mapping[str, Any], upper: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(lower)
    for key, value in upper.items():
        below, above = mapping(merged.get(key)), mapping(value)
        merged[key] = _over(below, above) if below is not None and above is not None else value
    return merged
