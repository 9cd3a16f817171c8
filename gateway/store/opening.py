"""The store that a configuration asks for. The library is imported here, and only if there is a server to talk to."""

from gateway.config.models import GatewaySettings
from gateway.errors import ConfigError
from gateway.store.memory import MemoryStore
from gateway.store.shared import Store


def open_store(settings: GatewaySettings) -> Store:
    """
    Raises:
        ConfigError: what it takes to talk to it is not installed.
    """
    if settings.store is None:
        return MemoryStore()
    try:
        from gateway.store.valkey_store import ValkeyStore
    except ImportError as error:
        raise ConfigError(
            f"gateway.store needs the extra `store`, of which {error.name!r} is missing: "
            "install mcp-gateway[store] (from a checkout: uv tool install '.[store]')."
        ) from None
    return ValkeyStore(settings.store, settings.state_keys)
