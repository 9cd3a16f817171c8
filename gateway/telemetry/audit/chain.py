"""A chain of lines of the audit log: each is sealed with a key, and says which one it follows. Pure.

A line is a JSON object whose last member is `mac`: HMAC-SHA256, in hexadecimal digits, over the bytes of the line
before `,"mac":"`. `chain` names its writer's run, `n` counts from 0, and `prev` is the `mac` of the line before.
"""

import hashlib
import hmac
import json
import secrets
from dataclasses import dataclass
from typing import Any, Final, cast

import orjson

_MAC: Final = b',"mac":"'
_MAC_DIGITS: Final = 64


class BadRecord(ValueError):
    """A line that is none of the audit log."""


@dataclass(frozen=True, slots=True)
class Keys:
    """What is made of one configured secret."""

    id: str
    """Tells which secret sealed a line, and nothing of it."""
    chain: bytes
    head: bytes
    arguments: bytes


def keys_of(secret: str) -> Keys:
    def derived(purpose: str) -> bytes:
        return hmac.digest(secret.encode(), b"mcp-gateway audit 1 " + purpose.encode(), "sha256")

    return Keys(derived("id").hex()[:8], derived("chain"), derived("head"), derived("arguments"))


@dataclass(frozen=True, slots=True)
class Head:
    """Where a chain ends."""

    chain: str
    n: int
    """The number of its last line."""
    mac: str
    """That line's."""


class Chain:
    """One writer's lines, from its start to its end."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self.id = secrets.token_hex(8)
        self._n = 0
        self._prev = ""

    @property
    def head(self) -> Head:
        return Head(self.id, self._n - 1, self._prev)

    def seal(self, fields: dict[str, Any]) -> bytes:
        """The next line, with its line break."""
        record = {"chain": self.id, "n": self._n, **fields, "prev": self._prev}
        try:
            body = orjson.dumps(record, default=str)[:-1]
        except TypeError:  # half a surrogate pair, or an integer beyond 64 bits
            body = json.dumps(record, default=str, separators=(",", ":")).encode()[:-1]
        self._n += 1
        self._prev = mac(self._key, body)
        return b"".join((body, _MAC, self._prev.encode(), b'"}\n'))


def mac(key: bytes, body: bytes) -> str:
    return hmac.digest(key, body, hashlib.sha256).hex()


@dataclass(frozen=True, slots=True)
class ChainRecord:
    """A line as it was found."""

    fields: dict[str, Any]
    body: bytes
    mac: str

    @property
    def chain(self) -> str:
        return self.fields["chain"]

    @property
    def n(self) -> int:
        return self.fields["n"]

    @property
    def prev(self) -> str:
        return self.fields["prev"]

    def is_sealed_with(self, key: bytes) -> bool:
        return hmac.compare_digest(mac(key, self.body), self.mac)


def parsed(line: bytes) -> ChainRecord:
    """
    Args:
        line: with its line break.

    Raises:
        BadRecord: it is none; the message says why, in words that may follow "it".
    """
    if not line.endswith(b"\n"):
        raise BadRecord("ends in the middle")
    body, separator, rest = line[:-1].rpartition(_MAC)
    digits = rest[:-2]
    if not separator or not rest.endswith(b'"}') or len(digits) != _MAC_DIGITS:
        raise BadRecord("has no seal")
    try:
        fields: Any = orjson.loads(body + b"}")
    except ValueError:
        raise BadRecord("is not JSON") from None
    shapes = {"chain": str, "n": int, "prev": str}
    if not isinstance(fields, dict) or not all(
        isinstance(cast("dict[str, Any]", fields).get(name), shape) for name, shape in shapes.items()
    ):
        raise BadRecord("is no record of an audit log")
    try:
        return ChainRecord(cast("dict[str, Any]", fields), body, digits.decode("ascii"))
    except UnicodeDecodeError:
        raise BadRecord("has no seal") from None
