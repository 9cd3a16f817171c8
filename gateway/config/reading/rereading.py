"""How the configuration is read, each time anew: by whoever found it, and by the workers it starts."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gateway.config.models import Config
    from gateway.config.reading.loader import Ask


@dataclass(frozen=True, slots=True)
class Reading:
    """Call it.

    Raises:
        ConfigError: the configuration cannot be used.
    """

    path: Path
    overrides: Mapping[str, Any] = field(repr=False)
    """Settings of the command line, by their dotted names."""
    dotenv: Path | None
    strict: bool
    """Whether a server that lacks a variable makes the whole unusable."""
    ask: "Ask" = "all"
    """As for `loader.load`."""

    def __call__(self) -> "Config":
        from gateway.config.reading.loader import load

        return load(self.path, overrides=dict(self.overrides), dotenv=self.dotenv, strict=self.strict, ask=self.ask)
