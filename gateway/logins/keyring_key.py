"""The key that seals logins, where the system's keyring has it (`login_key: keyring`). It is on no disk in the clear.

Not the logins themselves: keyrings take little (2.5 KB on Windows), cannot be listed, and know no locks.
"""

import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from gateway import system_keyring
from gateway.store import files
from gateway.system_keyring import KeyringUnavailable

SERVICE: Final = "mcp-gateway"
_OTHERWISE: Final = "set gateway.login_key to state"
_KEY_BYTES: Final = 32


class KeyOutOfReach(OSError):
    """The keyring does not give the key."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.strerror = reason


class KeyringKey:
    """Gives the keys of a vault; the first is the keyring's, which is made when it is first needed.

    Args:
        folder: the vault's; each has a key of its own.
        older: what else opens: under which logins were sealed before.
    """

    def __init__(self, folder: Path, older: Sequence[str]) -> None:
        self._folder = folder
        self._older = older
        self._name = f"logins in {folder.absolute()}"

    def __call__(self) -> Sequence[str]:
        """Blocks.

        Raises:
            OSError: the keyring cannot be asked, or does not keep it.
        """
        try:
            return [self._read() or self._make(), *self._older]
        except KeyringUnavailable as error:
            raise KeyOutOfReach(str(error)) from None

    def _make(self) -> str:
        with files.locked(self._folder / "key"):
            if (made := self._read()) is not None:
                return made  # somebody else has been quicker
            made = secrets.token_hex(_KEY_BYTES)
            system_keyring.write(SERVICE, self._name, made, otherwise=_OTHERWISE)
            return made

    def _read(self) -> str | None:
        return system_keyring.read(SERVICE, self._name, otherwise=_OTHERWISE)
