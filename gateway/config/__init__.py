"""The configuration file and the settings: text in, a frozen `Config` or one `ConfigError` out."""

from gateway.config.models import (
    AuthSettings,
    BreakerConfig,
    Config,
    GatewaySettings,
    RateLimitSettings,
    ServerConfig,
    ToolRules,
    Transport,
)
from gateway.config.reading.loader import load
from gateway.config.reading.locate import Found, find_config

__all__ = [
    "AuthSettings",
    "BreakerConfig",
    "Config",
    "Found",
    "GatewaySettings",
    "RateLimitSettings",
    "ServerConfig",
    "ToolRules",
    "Transport",
    "find_config",
    "load",
]
