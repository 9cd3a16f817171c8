"""What API keys look like and how they are kept: as hashes, in the form their strength allows.

A key of our making has 256 random bits, so that one SHA-256 is as good as any hash. A key that a person chose can be
guessed; it is kept as scrypt (RFC 7914), and so is whatever else is derived from it.
"""

import base64
import hashlib
import re
import secrets
from dataclasses import dataclass
from typing import Final, NamedTuple

OWN_KEY: Final = re.compile(r"mgw_([a-z2-7]{10,32})_[A-Za-z0-9_-]{43}")
"""A key of our making; group 1 is its id."""
MAX_KEY: Final = 1024
"""Characters of any key."""
DEV_KEYS: Final = frozenset({"dev-key-alice-001"})
"""Keys that the documentation tells everybody."""

_ID_BYTES: Final = 10
_SHA256: Final = re.compile(r"sha256:([0-9a-fA-F]{64})")
_SCRYPT: Final = re.compile(r"scrypt:([0-9]{2}):([0-9]{1,2}):([0-9]{1,2}):([A-Za-z0-9_-]{22}):([A-Za-z0-9_-]{43})")
_MAX_WORK: Final = 2**27
"""Bytes that one scrypt may write, and so a bound on both its memory and its time."""


class Scrypt(NamedTuple):
    """How a hash is computed. All hashes of a file share one of these, so that a key is hashed once to find it."""

    salt: bytes
    log_n: int = 14
    r: int = 8
    p: int = 1

    def __call__(self, key: str) -> bytes:
        """32 bytes. Takes some 50 ms and 16 MiB: for a worker thread."""
        return hashlib.scrypt(
            key.encode(), salt=self.salt, n=2**self.log_n, r=self.r, p=self.p, maxmem=2 * _MAX_WORK, dklen=32
        )

    @property
    def is_sane(self) -> bool:
        return self.log_n >= 10 and self.r > 0 and self.p > 0 and 128 * self.r * self.p * 2**self.log_n <= _MAX_WORK

    @classmethod
    def fresh(cls) -> "Scrypt":
        return cls(secrets.token_bytes(16))


@dataclass(frozen=True, slots=True)
class KeyHash:
    """A key as it is kept."""

    digest: bytes
    scrypt: Scrypt | None = None
    """How the digest was computed; None is SHA-256."""

    def __str__(self) -> str:
        if self.scrypt is None:
            return f"sha256:{self.digest.hex()}"
        salt, log_n, r, p = self.scrypt
        return f"scrypt:{log_n}:{r}:{p}:{_base64(salt)}:{_base64(self.digest)}"


def parse(text: str) -> KeyHash | None:
    """The hash that `str(KeyHash)` wrote, or None if it is none, or one that would take too long."""
    if match := _SHA256.fullmatch(text):
        return KeyHash(bytes.fromhex(match[1]))
    if match := _SCRYPT.fullmatch(text):
        log_n, r, p = (int(match[group]) for group in (1, 2, 3))
        scrypt = Scrypt(_unbase64(match[4]), log_n, r, p)
        return KeyHash(_unbase64(match[5]), scrypt) if scrypt.is_sane else None
    return None


def sha256(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()


def mint() -> tuple[str, str]:
    """A new key, and its id."""
    id = _base32(secrets.token_bytes(_ID_BYTES))
    return f"mgw_{id}_{secrets.token_urlsafe(32)}", id


def derive_id(key: str, owner: str) -> str:
    """The id of a key that somebody else made: the same wherever it is used. 16 characters.

    It stands in logs, where a fast hash of a weak key would give it away. The cost is a quarter of a stored hash's, for
    it is paid at every start by every such key without an `id`.
    """
    if key in DEV_KEYS:
        return _base32(hashlib.blake2b(key.encode(), digest_size=10, person=b"mcpgw-key-id").digest())
    return _base32(Scrypt(b"mcp-gateway key id:" + owner.encode(), log_n=12)(key)[:10])


def _base32(data: bytes) -> str:
    return base64.b32encode(data).decode().rstrip("=").lower()


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _unbase64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
