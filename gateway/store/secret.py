"""A secret of this installation that must outlive a restart: made on first use, readable by its owner only."""

import secrets
from pathlib import Path
from typing import Final

import structlog

from gateway import blocking
from gateway.store import files

log = structlog.stdlib.get_logger("gateway.store")

SECRET_BYTES: Final = 32


def load(path: Path) -> bytes:
    """The secret in a file, which is made if there is none. Blocks.

    Where it can be neither read nor made, a secret of this process alone serves: what it protects then ends with it.
    """
    try:
        if not path.exists():
            files.create(path, secrets.token_bytes(SECRET_BYTES))
        secret = blocking.read(path)
    except OSError as error:
        log.warning("secret not kept", path=str(path), reason=error.strerror)
        return secrets.token_bytes(SECRET_BYTES)
    if len(secret) < SECRET_BYTES:
        log.warning("secret not usable, another is used until it is deleted", path=str(path))
        return secrets.token_bytes(SECRET_BYTES)
    return secret
