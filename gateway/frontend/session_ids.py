"""Ids of handshake-era sessions, sealed: any node with the same keys opens one and makes the session anew.

An id carries what its client said when it opened the session, and opens only for the principal and the view that it was
made for (AES-SIV, RFC 5297, which authenticates both). Everybody else's is like one that was never made.
"""

import base64
import hashlib
import secrets
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from gateway import jsonrpc
from gateway.errors import SessionNotFound
from gateway.protocol import HANDSHAKE_VERSIONS
from gateway.request import QUESTIONS, Principal

MAX_ID: Final = 4096
"""Characters of an id. What a client says that is longer is clipped."""
KEY_BYTES: Final = 18
"""Of what tells sessions apart, at random."""
_TAG_BYTES: Final = 16
_MAX_TOLD: Final = MAX_ID * 3 // 4 - KEY_BYTES - _TAG_BYTES
_PURPOSE: Final = b"mcp-gateway session 1"


@dataclass(frozen=True, slots=True)
class SealedSession:
    """What an id says."""

    key: str
    """Tells sessions apart on all nodes. Says nothing, opens nothing; safe to log."""
    issued: float
    """Seconds since 1970."""
    version: str
    capabilities: Mapping[str, Any]
    info: Mapping[str, Any]
    is_clipped: bool = False
    """Whether the client declared more than that."""


class SessionIds:
    """
    Args:
        keys: secrets. The first seals, all open.
        clock: seconds since 1970.
    """

    def __init__(self, keys: Sequence[bytes | str], clock: Callable[[], float] = time.time) -> None:
        self._ciphers = [AESSIV(_derived(key)) for key in keys]
        self._clock = clock

    def make(
        self,
        principal: Principal,
        view: str | None,
        version: str,
        capabilities: Mapping[str, Any],
        info: Mapping[str, Any],
    ) -> tuple[str, SealedSession]:
        """An id for a new session, and what it says."""
        key, issued = secrets.token_bytes(KEY_BYTES), self._clock()
        sealed = SealedSession(_text(key), issued, version, capabilities, info)
        fitting = (each for each in _clippings(sealed) if len(_told(each)) <= _MAX_TOLD)
        sealed = next(fitting)
        return _text(self._ciphers[0].encrypt(key + _told(sealed), _binding(principal, view))), sealed

    def open(self, id: str, principal: Principal, view: str | None) -> SealedSession:
        """
        Raises:
            SessionNotFound: it was not made here, or for somebody else, or for another view.
        """
        data = _bytes(id)
        binding = _binding(principal, view)
        for cipher in self._ciphers:
            try:
                opened = cipher.decrypt(data, binding)
                issued, version, capabilities, info, is_clipped = jsonrpc.loads(opened[KEY_BYTES:])
            except (InvalidTag, ValueError):
                continue
            if version in HANDSHAKE_VERSIONS:
                return SealedSession(_text(opened[:KEY_BYTES]), issued, version, capabilities, info, is_clipped)
        raise SessionNotFound


def _clippings(whole: SealedSession) -> Generator[SealedSession]:
    """The whole, and with ever less of what its client said, but never without what it can be asked."""
    yield whole
    known = {name: whole.capabilities[name] for name in QUESTIONS.values() if name in whole.capabilities}
    key, issued, version = whole.key, whole.issued, whole.version
    yield SealedSession(key, issued, version, known, whole.info, True)
    yield SealedSession(key, issued, version, known, {}, True)
    yield SealedSession(key, issued, version, {name: {} for name in known}, {}, True)


def _told(sealed: SealedSession) -> bytes:
    return jsonrpc.dumps([sealed.issued, sealed.version, sealed.capabilities, sealed.info, sealed.is_clipped])


def _binding(principal: Principal, view: str | None) -> list[bytes]:
    return [_PURPOSE, principal.id.encode(), b"" if view is None else b"/" + view.encode()]


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _bytes(id: str) -> bytes:
    """
    Raises:
        SessionNotFound: no id looks like that. Each has one spelling: two would be two sessions.
    """
    try:
        data = base64.b64decode(id + "=" * (-len(id) % 4), altchars=b"-_", validate=True) if len(id) <= MAX_ID else b""
    except ValueError:
        data = b""
    if len(data) <= _TAG_BYTES + KEY_BYTES or _text(data) != id:
        raise SessionNotFound
    return data


def _derived(key: bytes | str) -> bytes:
    return hashlib.sha512(b"mcp-gateway session ids\0" + (key.encode() if isinstance(key, str) else key)).digest()
