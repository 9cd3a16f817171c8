"""What an authorization server has to do with it, if a token that it gave out cannot be checked."""

import math
from typing import ClassVar

from gateway.errors.base import GatewayError


class IssuerUnavailable(GatewayError):
    """There are no keys to check a token with: not the client's fault, and no reason to log in again."""

    code, status, outcome, ends_exchange = -32000, 503, "issuer_unavailable", True

    reason: ClassVar[str] = "The authorization server cannot be reached, so the bearer token cannot be checked."

    def __init__(self, retry_after: float) -> None:
        seconds = max(1, math.ceil(retry_after))
        super().__init__(f"{self.reason} Try again in {seconds} s.", data={"retryAfter": seconds})
        self.headers["retry-after"] = str(seconds)


class KeyUnknown(IssuerUnavailable):
    """No key we have fits, and the issuer cannot be asked for others yet: it may be a good token under a new key."""

    outcome = "key_unknown"
    reason: ClassVar[str] = (
        "The bearer token is not signed with a key that is known here, and the authorization server was asked for its "
        "keys a moment ago."
    )
