"""Which revision to offer next, when an upstream refuses the one it was offered with an error. Pure.

It should answer with one that it knows (2025-11-25, basic/lifecycle). Many refuse instead, and say what they know in
`data.supported`, in words, or not at all.
"""

import re
from typing import Any, Final

from gateway.errors import GatewayError, UpstreamError
from gateway.jsonrpc import as_object
from gateway.protocol import HANDSHAKE_VERSIONS, INVALID_PARAMS, INVALID_REQUEST, UNSUPPORTED_VERSION
from gateway.upstream.transport.pending import HttpRefusal, RefusedError

_ABOUT_VERSIONS: Final = re.compile(r"version|revision|protocol", re.IGNORECASE)
_REVISION: Final = re.compile(r"\b\d{4}-\d{2}-\d{2}\b")
_CODES: Final = frozenset({INVALID_PARAMS, INVALID_REQUEST, UNSUPPORTED_VERSION})


def next_offer(offered: str, refusal: GatewayError) -> str | None:
    """The newest revision below `offered` that both may speak: one that the upstream named, or else the next. None when
    it refused for another reason, or nothing is left."""
    if not _is_about_versions(refusal):
        return None
    known = HANDSHAKE_VERSIONS[: HANDSHAKE_VERSIONS.index(offered)]
    named = {*supported_of(refusal), *_REVISION.findall(_words(refusal))} - {offered}
    mutual = [version for version in known if version in named] if named else known
    return mutual[-1] if mutual else None


def supported_of(error: GatewayError) -> list[str]:
    """The revisions that an error names in `data.supported`."""
    named: Any = as_object(error.data).get("supported")
    return [version for version in named if isinstance(version, str)] if isinstance(named, list) else []  # pyright: ignore[reportUnknownVariableType]


def _is_about_versions(error: GatewayError) -> bool:
    if isinstance(error, HttpRefusal | RefusedError) and not 400 <= error.status < 500:
        return False
    if isinstance(error, UpstreamError) and (error.code in _CODES or supported_of(error)):
        return True
    return isinstance(error, UpstreamError | HttpRefusal) and bool(_ABOUT_VERSIONS.search(_words(error)))


def _words(error: GatewayError) -> str:
    return error.text if isinstance(error, HttpRefusal) else error.message
