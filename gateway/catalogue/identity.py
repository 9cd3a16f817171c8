"""Which server an entry is of: what is pinned of one is not pinned of another that has its name. Pure."""

import re
from hashlib import blake2b
from typing import Final

from gateway import jsonrpc
from gateway.config import redact
from gateway.config.models import ServerConfig

_MASK: Final = "***"
_SECRET_FLAG: Final = re.compile(r"(--?[\w-]*(?:key|token|secret|password)[\w-]*)(=.+)?", re.IGNORECASE | re.DOTALL)


def definition_hash(server: ServerConfig) -> str:
    """Hash of its command, arguments and folder, or of its URL; 16 hexadecimal digits.

    It may be written where others can read it, and is the same after a secret was replaced: secrets do not enter it.
    """
    secrets = sorted(redact.secrets([server], {}), key=len, reverse=True)
    if server.command is not None:
        words = [server.command, *_without_values(server.args), str(server.cwd or "")]
    elif server.openapi is not None:
        words = [server.openapi.document, server.url or ""]
    else:
        words = [server.url or ""]
    for secret in secrets:
        words = [word.replace(secret, _MASK) for word in words]
    return blake2b(jsonrpc.dumps(words), digest_size=8, person=b"mcpgw-server").hexdigest()


def _without_values(args: list[str]) -> list[str]:
    """Arguments without the values of flags such as `--api-key`."""
    words: list[str] = []
    hides_next = False
    for word in args:
        flag = _SECRET_FLAG.fullmatch(word)
        words.append(_MASK if hides_next and not word.startswith("-") else flag[1] if flag else word)
        hides_next = flag is not None and flag[2] is None
    return words
