"""`requestState`: sealed when an agent gets it, and good only for the same principal, upstream and request.

Source: 2026-07-28, basic/patterns/mrtr ("Server Requirements"). The cipher is the SDK's (AES-GCM, with a key ring).
"""

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import structlog

from gateway import jsonrpc, sdk
from gateway.bridge.timing import USUAL, BridgeTiming
from gateway.call import Call
from gateway.errors import InvalidRequestState

if TYPE_CHECKING:
    from mcp.server.request_state import AESGCMRequestStateCodec

log = structlog.stdlib.get_logger("gateway.bridge")

_VERSION: Final = 1


class StateSeal:
    """
    Args:
        keys: secrets of at least 32 bytes. The first seals, all unseal.
        clock: seconds since 1970.
    """

    def __init__(
        self, keys: Sequence[bytes | str], clock: Callable[[], float] = time.time, timing: BridgeTiming = USUAL
    ) -> None:
        self._keys = keys
        self._clock = clock
        self._timing = timing
        self._made: AESGCMRequestStateCodec | None = None

    def seal(self, content: Mapping[str, Any], request: Call, upstream: str) -> str:
        """Make the state that only a retry of `request` at `upstream` opens again."""
        claims = {
            "v": _VERSION,
            "exp": self._clock() + self._timing.lifetime_seconds,
            "for": _binding(request, upstream),
            "is": content,
        }
        return self._codec().seal(jsonrpc.dumps(claims))

    def open(self, state: object, request: Call, upstream: str) -> dict[str, Any]:
        """What was sealed.

        Raises:
            InvalidRequestState: it was not made here, for this, or is too old. The log says which; the agent does not
                learn it.
        """
        from mcp.server.request_state import InvalidRequestState as Unsealable

        try:
            if not isinstance(state, str):
                raise Unsealable("not a string")
            claims = jsonrpc.loads(self._codec().unseal(state))
            if claims["v"] != _VERSION or claims["for"] != _binding(request, upstream):
                raise Unsealable("of another request, principal or upstream")
            if not self._clock() < claims["exp"]:
                raise Unsealable("expired")
            return claims["is"]
        except (Unsealable, ValueError, KeyError, TypeError) as error:
            principal = request.principal.id
            log.warning("requestState refused", principal=principal, upstream=upstream, reason=str(error))
            raise InvalidRequestState from None

    def _codec(self) -> "AESGCMRequestStateCodec":
        if self._made is None:
            sdk.load()
            from mcp.server.request_state import AESGCMRequestStateCodec

            self._made = AESGCMRequestStateCodec(self._keys)
        return self._made


def _binding(request: Call, upstream: str) -> str:
    """A digest of whose request it is, what it asks, and of whom."""
    params = jsonrpc.opened(request.params)
    asked = [params.get("name"), params.get("uri"), params.get("arguments")]
    whole = [request.principal.id, request.agent.view, upstream, request.method, *asked]
    return hashlib.sha256(jsonrpc.dumps(whole, sort_keys=True)).hexdigest()
