"""What stands in a store that others may read and write: sealed (AES-256-GCM) under the keys of `state_keys`.

Each process seals under a key of its own, which it derives from the first of the ring and a salt that goes with what it
seals; so a counter serves as the nonce, and no two processes ever use one twice. All keys of the ring open. What is
sealed is bound to the name it stands under: a value moved elsewhere does not open.
"""

import hmac
import secrets
from collections import OrderedDict
from collections.abc import Sequence
from itertools import count
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_VERSION: Final = b"\x01"
_SALT_BYTES: Final = 16
_NONCE_BYTES: Final = 12
_HEAD: Final = len(_VERSION) + _SALT_BYTES + _NONCE_BYTES
MAX_DERIVED: Final = 256
"""Keys of other processes that are remembered; all can be derived again."""


class Seal:
    """
    Args:
        keys: secrets of at least 32 bytes. The first seals, all open.
    """

    def __init__(self, keys: Sequence[bytes | str]) -> None:
        self._roots = [hmac.digest(b"mcp-gateway store", _bytes(key), "sha256") for key in keys]
        self._salt = secrets.token_bytes(_SALT_BYTES)
        self._own = _derive(self._roots[0], self._salt)
        self._numbers = count(1)
        self._derived: OrderedDict[bytes, list[AESGCM]] = OrderedDict()

    def seal(self, name: str, value: bytes) -> bytes:
        nonce = next(self._numbers).to_bytes(_NONCE_BYTES, "big")
        return _VERSION + self._salt + nonce + self._own.encrypt(nonce, value, name.encode())

    def open(self, name: str, sealed: bytes) -> bytes | None:
        """None if it was not sealed under that name by one of the keys."""
        if len(sealed) < _HEAD or not sealed.startswith(_VERSION):
            return None
        salt, nonce = sealed[1 : 1 + _SALT_BYTES], sealed[1 + _SALT_BYTES : _HEAD]
        for cipher in self._ciphers(salt):
            try:
                return cipher.decrypt(nonce, sealed[_HEAD:], name.encode())
            except InvalidTag:
                continue
        return None

    def _ciphers(self, salt: bytes) -> list[AESGCM]:
        found = self._derived.get(salt)
        if found is None:
            found = self._derived[salt] = [_derive(root, salt) for root in self._roots]
            if len(self._derived) > MAX_DERIVED:
                self._derived.popitem(last=False)
        else:
            self._derived.move_to_end(salt)
        return found


def _bytes(key: bytes | str) -> bytes:
    return key.encode() if isinstance(key, str) else key


def _derive(root: bytes, salt: bytes) -> AESGCM:
    return AESGCM(hmac.digest(root, salt, "sha256"))
