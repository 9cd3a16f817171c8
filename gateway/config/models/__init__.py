"""The shape of a valid configuration: frozen, typed, in seconds and bytes, with nothing left to expand or infer.

Whoever holds a `Config` may trust it. Where its values were written, and in which client's spelling, is the loader's
business. The string under each field is its description in the JSON Schema.
"""

from pathlib import Path
from typing import Literal

from pydantic import Field

from gateway.config.models.access import (
    AuthSettings,
    OAuthSettings,
    RateLimitSettings,
    RuleSettings,
    TlsSettings,
    UpstreamRateLimit,
)
from gateway.config.models.auth import AuthConfig
from gateway.config.models.fields import Model
from gateway.config.models.openapi import OpenApiConfig
from gateway.config.models.profiles import NameRules, ProfileConfig, UriRules
from gateway.config.models.results import ResultsConfig, ResultSettings
from gateway.config.models.server import BreakerConfig, OutOfOrder, ServerConfig, ToolRules, Transport
from gateway.config.models.settings import GatewaySettings

__all__ = [
    "AuthConfig",
    "AuthSettings",
    "BreakerConfig",
    "Config",
    "GatewaySettings",
    "NameRules",
    "OAuthSettings",
    "OpenApiConfig",
    "OutOfOrder",
    "ProfileConfig",
    "RateLimitSettings",
    "ResultSettings",
    "ResultsConfig",
    "RuleSettings",
    "ServerConfig",
    "TlsSettings",
    "ToolRules",
    "Transport",
    "UpstreamRateLimit",
    "UriRules",
]


class Config(Model):
    """A whole, valid configuration, and what to tell its owner about it."""

    gateway: GatewaySettings = Field(default_factory=GatewaySettings)
    """The gateway's own settings."""
    servers: dict[str, ServerConfig] = Field(default={})
    """Name → server, in the order of the file; disabled ones too."""
    profiles: dict[str, ProfileConfig] = Field(default={})
    """Name → profile. No server has the name of one."""
    path: Path
    """The file, absolute."""
    files: list[Path] = Field(default=[])
    """Every file the configuration was read from, `path` first; absolute."""
    warnings: list[str] = Field(default=[])
    """What was ignored or looks mistaken, one line each, with file and line."""
    secrets: frozenset[str] = Field(default=frozenset(), repr=False)
    """Values that must not appear in logs; each at least 6 characters."""
    refreshable: frozenset[str] = Field(default=frozenset())
    """Servers with values from files, the keyring or commands, which may be others when they are read again."""

    @property
    def enabled(self) -> dict[str, ServerConfig]:
        """The servers to offer: all that are to be connected to, and those `OutOfOrder`."""
        return {name: server for name, server in self.servers.items() if not server.disabled}

    @property
    def prefix(self) -> Literal["upstream", "none"]:
        """How public names are made: `none` when the settings or the only enabled server ask for it."""
        return "none" if any(server.prefix for server in self.enabled.values()) else self.gateway.prefix
