"""Where logins and registrations are kept: sealed, in a folder of `state_dir` that gateways and the CLI share.

A record is a file, replaced in one step; what is sealed in it opens under its own name only. The key is had when it is
first needed, for it may be in a keyring that somebody has to unlock. `turn` is the one way to
change a login by asking an authorization server: whoever has it reads what the others left, in whichever process.
"""

import os
import threading
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Final, Protocol, TypeVar

import anyio
import msgspec
import structlog

from gateway import blocking
from gateway.blocking import in_thread
from gateway.logins.record import Login, LoginKey, RegisteredClient
from gateway.store import files
from gateway.store.seal import Seal

log = structlog.stdlib.get_logger("gateway.logins")

NAME: Final = "logins"
TURN_SECONDS: Final = 60.0
"""Longest wait for a turn; somebody else asks an authorization server meanwhile, which takes no longer."""
_LOOK_SECONDS: Final = 0.05

T = TypeVar("T")


class Vault(Protocol):
    """All methods that wait raise OSError or `StoreUnavailable` if nothing can be kept or read."""

    async def get(self, key: LoginKey) -> Login | None: ...
    async def put(self, login: Login) -> None: ...
    async def drop(self, key: LoginKey) -> None: ...
    async def all(self) -> list[Login]: ...

    async def client(self, name: str) -> RegisteredClient | None:
        """The registration kept under that name."""
        ...

    async def put_client(self, name: str, client: RegisteredClient) -> None: ...
    async def drop_client(self, name: str) -> None: ...

    def turn(self, name: str) -> AbstractAsyncContextManager[None]:
        """Be the only one, in whichever process, who changes what is kept under that name.

        Raises:
            TimeoutError: somebody else is, for too long.
        """
        ...

    async def signature(self) -> object:
        """Changes whenever any login does."""
        ...


class FileVault:
    """
    Args:
        folder: made when it is needed.
        keys: of `Seal`, or what gives them: it may block, and raises OSError if there are none now.
    """

    def __init__(self, folder: Path, keys: Sequence[str] | Callable[[], Sequence[str]]) -> None:
        self._folder = folder
        self._keys = keys
        self._had: Seal | None = None
        self._having = threading.Lock()

    async def get(self, key: LoginKey) -> Login | None:
        return await in_thread(self._read, f"{key.name}.login", Login)

    async def put(self, login: Login) -> None:
        await in_thread(self._write, f"{login.key.name}.login", login)

    async def drop(self, key: LoginKey) -> None:
        await in_thread((self._folder / f"{key.name}.login").unlink, True)

    async def all(self) -> list[Login]:
        return await in_thread(self._all)

    async def client(self, name: str) -> RegisteredClient | None:
        return await in_thread(self._read, f"{name}.client", RegisteredClient)

    async def put_client(self, name: str, client: RegisteredClient) -> None:
        await in_thread(self._write, f"{name}.client", client)

    async def drop_client(self, name: str) -> None:
        await in_thread((self._folder / f"{name}.client").unlink, True)

    @asynccontextmanager
    async def turn(self, name: str) -> AsyncGenerator[None]:
        descriptor = await in_thread(self._lockable, f"{name}.turn")
        try:
            with anyio.fail_after(TURN_SECONDS):
                while not files.lock(descriptor):  # noqa: ASYNC110 - it may be another process's
                    await anyio.sleep(_LOOK_SECONDS)
            yield
        finally:
            os.close(descriptor)  # which ends the lock, and so does the end of the process

    async def signature(self) -> object:
        return await in_thread(files.signature, self._folder)

    # --- Blocking -----------------------------------------------------------------------------------------------------

    def unlock(self) -> Seal:
        """Have the key.

        Raises:
            OSError: it cannot be had.
        """
        with self._having:
            if self._had is None:
                self._had = Seal(self._keys() if callable(self._keys) else self._keys)
            return self._had

    def _lockable(self, name: str) -> int:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return os.open(self._folder / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def _read(self, name: str, kind: type[T]) -> T | None:
        try:
            sealed = blocking.read(self._folder / name)
        except FileNotFoundError:
            return None
        opened = self.unlock().open(name, sealed)
        if opened is None:
            log.warning("a login cannot be opened with the keys there are, and is not used", file=name)
            return None
        try:
            return msgspec.json.decode(opened, type=kind)
        except msgspec.MsgspecError:
            return None

    def _write(self, name: str, record: object) -> None:
        files.replace(self._folder / name, self.unlock().seal(name, msgspec.json.encode(record)))
        files.sync_folder(self._folder)  # or a power failure brings back a refresh token that is good no more

    def _all(self) -> list[Login]:
        names = sorted(path.name for path in self._folder.glob("*.login")) if self._folder.is_dir() else []
        found = [self._read(name, Login) for name in names]
        return [login for login in found if login is not None]
