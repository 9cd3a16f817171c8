"""Settings from `GATEWAY_…` variables: which variable sets which field, and what it says.

pydantic-settings does the reading; this module gives it the variables (from the process and from `.env`, not from a
global) and remembers which of them each value came from, for messages.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, Final

from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, EnvSettingsSource, SettingsConfigDict

from gateway.config.models.settings import GatewaySettings
from gateway.config.reading.problems import closest
from gateway.config.reading.source import Place

PREFIX: Final = "GATEWAY_"
DELIMITER: Final = "__"

FLAT: Final[Mapping[str, str]] = {
    "GATEWAY_AUTH_ENABLED": "GATEWAY_AUTH__ENABLED",
    "GATEWAY_API_KEYS_FILE": "GATEWAY_AUTH__API_KEYS_FILE",
}
"""Names that users know → the names the nesting would give."""

NOT_SETTINGS: Final = frozenset({"GATEWAY_CONFIG", "GATEWAY_PYTHON"})
"""Where the file is, and what `${GATEWAY_PYTHON}` stands for in it."""


@dataclass(frozen=True, slots=True)
class Environment:
    """What the environment says about the settings."""

    values: dict[str, Any]
    """Nested as `GatewaySettings` is; not yet validated."""
    names: dict[Place, str] = field(default_factory=dict[Place, str])
    """Place → the variable that set it, as its user spelt it."""
    warnings: list[str] = field(default_factory=list[str])
    """Variables that look like misspelt settings."""

    def name(self, place: Place) -> str:
        """The variable that set `place`, or something in it or around it."""
        inside = (name for set_by, name in self.names.items() if set_by[: len(place)] == place)
        around = (self.names[place[:length]] for length in range(len(place), 0, -1) if place[:length] in self.names)
        return next(chain(around, inside), "environment")


class _Settings(BaseSettings, GatewaySettings):  # pyright: ignore[reportIncompatibleVariableOverride]
    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_nested_delimiter=DELIMITER, env_ignore_empty=True, frozen=True, extra="forbid"
    )


class _Source(EnvSettingsSource):
    """Reads from the mapping it is given; lists may be written `a, b` as well as in JSON."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._given = variables
        super().__init__(_Settings)

    def _load_env_vars(self) -> Mapping[str, str | None]:
        return {name.lower(): value for name, value in self._given.items() if value}

    def decode_complex_value(self, field_name: str, field: FieldInfo, value: Any) -> Any:
        text = str(value).strip()
        if text.startswith(("[", "{")):
            try:
                return json.loads(text)
            except (ValueError, RecursionError):
                return text  # validation will say what it should have been
        return [item.strip() for item in text.split(",")]


def read(variables: Mapping[str, str], layer: str) -> Environment:
    """What `variables` say about the settings; `layer` names where they are from, e.g. `environment` or `.env`."""
    spelt = {name.upper(): name for name in variables if name.upper().startswith(PREFIX)}
    settings = {FLAT.get(name, name): variables[spelling] for name, spelling in spelt.items()}
    names = {_place(FLAT.get(name, name)): f"{spelling} ({layer})" for name, spelling in spelt.items()}
    return Environment(_Source(settings)(), names, warnings=_misspelt(spelt, layer))


def _place(name: str) -> Place:
    return tuple(name.removeprefix(PREFIX).lower().split(DELIMITER))


def known_names() -> set[str]:
    """Every `GATEWAY_…` name that means something."""
    nested = {PREFIX + DELIMITER.join(str(step) for step in place).upper() for place in _places(GatewaySettings)}
    return {*FLAT, *NOT_SETTINGS, *nested}


def _places(model: Any, outer: Place = ()) -> list[Place]:
    places: list[Place] = []
    for name, info in model.model_fields.items():
        here = (*outer, name)
        places += [here, *(_places(info.annotation, here) if hasattr(info.annotation, "model_fields") else ())]
    return places


def _misspelt(spelt: Mapping[str, str], layer: str) -> list[str]:
    known = known_names()
    found: list[str] = []
    for name, spelling in spelt.items():
        if name in known or _place(name)[0] in GatewaySettings.model_fields:
            continue  # below a known group, validation objects
        if meant := closest(name, known, cutoff=0.85):  # a Kubernetes service named gateway sets names of this kind too
            found.append(f"{spelling} ({layer}): ignored, not a setting; did you mean {meant}?")
    return found
