"""As `vault`, for nodes that share a store: logins and registrations stand in one table of it, sealed by the store."""

from contextlib import AbstractAsyncContextManager
from typing import Final, TypeVar

import msgspec

from gateway.logins.record import Login, LoginKey, RegisteredClient
from gateway.logins.vault import TURN_SECONDS
from gateway.store.shared import Store
from gateway.store.table import Table
from gateway.store.turn import turn

TABLE: Final = "logins"

T = TypeVar("T")


class StoreVault:
    """A `Vault`."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._table = Table(store, TABLE)

    async def get(self, key: LoginKey) -> Login | None:
        return await self._read(f"{key.name}.login", Login)

    async def put(self, login: Login) -> None:
        await self._table.put({f"{login.key.name}.login": msgspec.json.encode(login)})

    async def drop(self, key: LoginKey) -> None:
        await self._table.remove([f"{key.name}.login"])

    async def all(self) -> list[Login]:
        found = [value for name, value in (await self._table.load()).items() if name.endswith(".login")]
        return [login for value in found if (login := _decoded(value, Login)) is not None]

    async def client(self, name: str) -> RegisteredClient | None:
        return await self._read(f"{name}.client", RegisteredClient)

    async def put_client(self, name: str, client: RegisteredClient) -> None:
        await self._table.put({f"{name}.client": msgspec.json.encode(client)})

    async def drop_client(self, name: str) -> None:
        await self._table.remove([f"{name}.client"])

    def turn(self, name: str) -> AbstractAsyncContextManager[None]:
        return turn(self._store, f"{TABLE}:{name}", TURN_SECONDS)

    async def signature(self) -> object:
        return self._store.version(TABLE)

    async def _read(self, field: str, kind: type[T]) -> T | None:
        value = await self._table.get(field)
        return _decoded(value, kind) if value is not None else None


def _decoded(value: bytes, kind: type[T]) -> T | None:
    try:
        return msgspec.json.decode(value, type=kind)
    except msgspec.MsgspecError:
        return None
