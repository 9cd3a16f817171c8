"""`requestState`: sealed when an agent gets it, and good only for the same principal, upstream and request.

Source: 2026-07-28, basic/patterns/mrtr ("Server Requirements"). It is sealed as what stands in a store is (AES-GCM,
with a key ring): the SDK's codec does the same, but lives in its server, of which the gateway loads nothing.
"""

import base64
import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import structlog

from gateway import jsonrpc
from gateway.bridge.timing import USUAL, BridgeTiming
from gateway.call import Call
from gateway.errors import InvalidRequestState
from gateway.store.seal import Seal

log = structlog.stdlib.get_logger("gateway.bridge")

_VERSION: Final = 1
_NAME: Final = "requestState"
"""Keeps what is sealed here apart from what is sealed for the store."""


class StateSeal:
    """
    Args:
        keys: secrets of at least 32 bytes. The first seals, all unseal.
        clock: seconds since 1970.
    """

    def __init__(
        self, keys: Sequence[bytes | str], clock: Callable[[], float] = time.time, timing: BridgeTiming = USUAL
    ) -> None:
        self._seal = Seal(keys)
        self._clock = clock
        self._timing = timing

    def seal(self, content: Mapping[str, Any], request: Call, upstream: str) -> str:
        """Make the state that only a retry of `request` at `upstream` opens again."""
        claims = {
            "v": _VERSION,
            "exp": self._clock() + self._timing.lifetime_seconds,
            "for": _binding(request, upstream),
            "is": content,
        }
        return _text(self._seal.seal(_NAME, jsonrpc.dumps(claims)))

    def open(self, state: object, request: Call, upstream: str) -> dict[str, Any]:
        """What was sealed.

        Raises:
            InvalidRequestState: it was not made here, for this, or is too old. The log says which; the agent does not
                learn it.
        """
        try:
            claims = self._opened(state)
            if claims["v"] != _VERSION or claims["for"] != _binding(request, upstream):
                raise ValueError("of another request, principal or upstream")
            if not self._clock() < claims["exp"]:
                raise ValueError("expired")
            return claims["is"]
        except (ValueError, KeyError, TypeError) as error:
            principal = request.principal.id
            log.warning("requestState refused", principal=principal, upstream=upstream, reason=str(error))
            raise InvalidRequestState from None

    def _opened(self, state: object) -> dict[str, Any]:
        """
        Raises:
            ValueError: it was not sealed here.
        """
        if not isinstance(state, str):
            raise ValueError("not a string")
        sealed = base64.b64decode(state, altchars=b"-_", validate=True)
        content = self._seal.open(_NAME, sealed) if _text(sealed) == state else None  # one text alone for each state
        if content is None:
            raise ValueError("sealed under no key of ours")
        return jsonrpc.loads(content)


def _text(sealed: bytes) -> str:
    return base64.urlsafe_b64encode(sealed).decode()


def _binding(request: Call, upstream: str) -> str:
    """A digest of whose request it is, what it asks, and of whom."""
    params = jsonrpc.opened(request.params)
    asked = [params.get("name"), params.get("uri"), params.get("arguments")]
    whole = [request.principal.id, request.agent.view, upstream, request.method, *asked]
    return hashlib.sha256(jsonrpc.dumps(whole, sort_keys=True)).hexdigest()
