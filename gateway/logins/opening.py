"""Where the logins of a gateway are kept: for the gateway, and for the CLI beside it."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

import anyio

from gateway.blocking import in_thread
from gateway.config.models import Config, GatewaySettings
from gateway.errors import ConfigError
from gateway.logins.keyring_key import KeyringKey
from gateway.logins.logins import Logins, keeps_logins
from gateway.logins.vault import NAME, FileVault, Vault
from gateway.logins.vault_store import StoreVault
from gateway.store import secret
from gateway.store.opening import open_store
from gateway.store.shared import Store


def open_vault(settings: GatewaySettings, store: Store | None = None, keys: Sequence[str | bytes] = ()) -> Vault:
    """Blocks.

    Args:
        store: the one that nodes share, if there is one.
        keys: what seals; by default `state_keys`, or the secret of the installation.
    """
    if store is not None:
        return StoreVault(store)
    given = keys or settings.state_keys or [secret.load(settings.state_dir / "state.key")]
    folder, ring = settings.state_dir / NAME, [key if isinstance(key, str) else key.hex() for key in given]
    if settings.login_key == "keyring":
        return FileVault(folder, KeyringKey(folder, ring))
    return FileVault(folder, ring)


@asynccontextmanager
async def vault_of(settings: GatewaySettings) -> AsyncGenerator[Vault]:
    """For a command beside the gateway.

    Raises:
        ConfigError: what it takes to talk to the store is not installed, or the keyring does not give its key.
    """
    if settings.store is None:
        vault = await in_thread(open_vault, settings)
        if isinstance(vault, FileVault):
            await _unlock(vault)
        yield vault
        return
    store = open_store(settings)
    async with anyio.create_task_group() as tg:
        await tg.start(store.run)
        yield StoreVault(store)
        tg.cancel_scope.cancel()


async def _unlock(vault: FileVault) -> None:
    try:
        await in_thread(vault.unlock)
    except OSError as error:
        raise ConfigError(f"Logins cannot be opened: {error}.") from None


@asynccontextmanager
async def logins_of(config: Config) -> AsyncGenerator[Logins]:
    """For a command that tries servers, and is no gateway: what they are proved to with.

    Raises:
        ConfigError: what it takes to talk to the store is not installed.
    """
    if config.gateway.store is None or not keeps_logins(config):
        yield Logins(config, lambda: open_vault(config.gateway))
        return
    async with vault_of(config.gateway) as vault:
        yield Logins(config, lambda: vault)
