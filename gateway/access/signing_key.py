"""The keys that sign agent tokens: one that signs, and the ones before it until the tokens they signed have expired.

They live in `state_dir/signing-key.json`, made on the first start, or come from the configuration and are not written
anywhere. `mcp-gateway keys rotate` changes the file, and gateways that use it follow. What touches the file blocks.
"""

import base64
import hashlib
import hmac
import os
import secrets
import stat
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import structlog

from gateway import blocking, jsonrpc
from gateway.config.models import GatewaySettings
from gateway.errors import ConfigError
from gateway.store import files

log = structlog.stdlib.get_logger("gateway.access")

KEY_BYTES: Final = 32
SHORTEST_SECRET: Final = 32
"""Characters of a configured key."""
FILE: Final = "signing-key.json"
"""In `state_dir`."""
GRACE: Final = 60.0
"""Seconds in which every gateway that uses the file has seen a new key; until then it may sign with the old one."""
_FORMAT: Final = "mcp-gateway signing keys"
_VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class SigningKey:
    """One key for HMAC-SHA256."""

    kid: str
    """Its name, as tokens carry it. Says nothing about the key."""
    secret: bytes = field(repr=False)
    """`KEY_BYTES` of them."""
    accepted_until: float | None = None
    """Seconds since 1970 after which what it signed has expired; None while it signs."""

    def is_accepted(self, now: float) -> bool:
        return self.accepted_until is None or now < self.accepted_until


class SigningKeys:
    """A key ring. The first key signs; all are accepted. Made by `from_file` or `from_secret`."""

    def __init__(self, keys: Sequence[SigningKey], path: Path | None = None) -> None:
        self._keys: tuple[SigningKey, ...] = tuple(keys)
        self._path = path

    @classmethod
    def from_secret(cls, secret: str, *previous: str) -> "SigningKeys":
        """The ring of a configured key, the same on every node that has it.

        Args:
            previous: keys that were configured before, accepted for as long as they stay in the configuration.

        Raises:
            ConfigError: one of them is shorter than `SHORTEST_SECRET`.
        """
        if any(len(each) < SHORTEST_SECRET for each in (secret, *previous)):
            raise ConfigError(
                f"The key that signs agent tokens is shorter than {SHORTEST_SECRET} characters; "
                "`openssl rand -base64 32` makes a good one."
            )
        keys = [_derive(each) for each in (secret, *previous)]
        return cls([keys[0], *(SigningKey(key.kid, key.secret, float("inf")) for key in keys[1:])])

    @classmethod
    def from_file(cls, path: Path) -> "SigningKeys":
        """The ring in a file, which is made if there is none.

        Raises:
            ConfigError: the file cannot be read, written or understood.
        """
        try:
            if not path.exists():
                files.create(path, _encode([_fresh()]))
            _tighten(path)
        except OSError as error:
            raise _unusable(path, error) from None
        return cls(_load(path), path)

    @property
    def signing(self) -> SigningKey:
        return self._keys[0]

    @property
    def all(self) -> tuple[SigningKey, ...]:
        """The one that signs, then the others, newest first."""
        return self._keys

    def rotate(self, lifetime: float, now: float | None = None) -> None:
        """Sign with a new key from now on, and accept the old one for as long as its tokens can live.

        Args:
            lifetime: of tokens, in seconds; 0 accepts the old keys no longer.
            now: seconds since 1970; the system's clock if None.

        Raises:
            ConfigError: the key is configured, and has to be changed there; or the file cannot be written.
        """
        if self._path is None:
            raise ConfigError(
                "The key that signs agent tokens is configured: set auth.agent_tokens.signing_key to another, "
                "keep this one as previous_signing_key until its tokens have expired, and restart the gateway."
            )
        now = time.time() if now is None else now
        keys: Sequence[SigningKey] = ()

        def change(data: bytes | None) -> bytes:
            nonlocal keys
            keys = _rotated(_decode(data) if data is not None else self._keys, lifetime, now)
            return _encode(keys)

        try:
            files.update(self._path, change)
        except OSError as error:
            raise ConfigError(f"{self._path}: cannot be written: {error.strerror}") from None
        except (ValueError, TypeError, KeyError):
            raise _no_keys(self._path) from None
        self._keys = tuple(keys)

    def reload(self) -> bool:
        """Use the keys that the file has now; returns whether they are others.

        Raises:
            ConfigError: the file cannot be read or understood; the keys from before stay.
        """
        keys = tuple(_load(self._path)) if self._path is not None else self._keys
        changed, self._keys = keys != self._keys, keys
        return changed


def configured(settings: GatewaySettings) -> SigningKeys:
    """The keys of a gateway: from its configuration, or else from the file in its `state_dir`; with a store, made from
    `state_keys`.

    Raises:
        ConfigError: they cannot be used, and agents need them.
    """
    tokens = settings.auth.agent_tokens
    if tokens.signing_key is None and settings.store is not None:
        return SigningKeys.from_secret(*settings.state_keys)  # every node has these, and the store has not
    if tokens.signing_key is None:
        try:
            return SigningKeys.from_file(settings.state_dir / FILE)
        except ConfigError as error:
            if settings.auth.enabled:
                raise
            log.warning("agent tokens would end with this process", reason=error.message)
            return SigningKeys([_fresh()])
    previous = [tokens.previous_signing_key] if tokens.previous_signing_key is not None else []
    return SigningKeys.from_secret(tokens.signing_key, *previous)


def _load(path: Path) -> list[SigningKey]:
    try:
        return _decode(blocking.read(path))
    except OSError as error:
        raise _unusable(path, error) from None
    except (ValueError, TypeError, KeyError):
        raise _no_keys(path) from None


def _no_keys(path: Path) -> ConfigError:
    return ConfigError(
        f"{path}: does not hold the keys of agent tokens; restore it, or delete it to end all agent tokens"
    )


def _unusable(path: Path, error: OSError) -> ConfigError:
    return ConfigError(f"{path}: cannot be used for the keys of agent tokens: {error.strerror}")


def _rotated(keys: Sequence[SigningKey], lifetime: float, now: float) -> tuple[SigningKey, ...]:
    if not lifetime:
        return (_fresh(),)
    retired = SigningKey(keys[0].kid, keys[0].secret, now + lifetime + GRACE)
    return (_fresh(), retired, *(key for key in keys[1:] if key.is_accepted(now)))


def _fresh() -> SigningKey:
    return SigningKey(secrets.token_hex(8), secrets.token_bytes(KEY_BYTES))


def _derive(secret: str) -> SigningKey:
    """A key of the right length from text of any; its name is a second hash, which does not lead back."""
    key = hmac.digest(b"mcp-gateway agent tokens", secret.encode(), "sha256")
    return SigningKey(hashlib.blake2b(key, digest_size=8, person=b"mcpgw-kid").hexdigest(), key)


def _tighten(path: Path) -> None:
    if os.name == "posix" and stat.S_IMODE(path.stat().st_mode) & 0o077:
        log.warning("others could read the keys of agent tokens; rotate them", path=str(path))
        path.chmod(0o600)


def _encode(keys: Sequence[SigningKey]) -> bytes:
    entries = [
        {"kid": key.kid, "secret": base64.b64encode(key.secret).decode(), "accepted_until": key.accepted_until}
        for key in keys
    ]
    return jsonrpc.dumps({"format": _FORMAT, "version": _VERSION, "keys": entries})


def _decode(data: bytes) -> list[SigningKey]:
    document = jsonrpc.loads(data, len(data))
    if document["format"] != _FORMAT or document["version"] != _VERSION:
        raise ValueError("foreign, or of another version")
    keys = [_key(entry) for entry in document["keys"]]
    if not keys or keys[0].accepted_until is not None:
        raise ValueError("no key signs")
    return keys


def _key(entry: dict[str, Any]) -> SigningKey:
    secret, until = base64.b64decode(entry["secret"], validate=True), entry["accepted_until"]
    if len(secret) != KEY_BYTES or not isinstance(entry["kid"], str) or not isinstance(until, int | float | None):
        raise ValueError("not what was saved")
    return SigningKey(entry["kid"], secret, until)
