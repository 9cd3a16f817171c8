"""The configuration file and the settings: text in, a frozen `Config` or one `ConfigError` out."""

from gateway.config.loader import load
from gateway.config.locate import Found, find_config
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
