"""What a token of an agent says once its signature was checked, and when it is good. Pure; `agent_jwt` is its form."""

import hashlib
import hmac
from dataclasses import dataclass
from typing import Final

from gateway.access.signing_key import SigningKey
from gateway.request import Principal

LEEWAY: Final = 5
"""Seconds that the clocks of two nodes may differ by."""
MAX_TOKEN: Final = 8192
"""Characters; what servers and proxies take for a header."""


class BadToken(Exception):
    """It is not good. The message says why, for the log and not for whoever sent it."""


@dataclass(frozen=True, slots=True)
class Verified:
    """What a token with a good signature says."""

    session_id: str
    principal: Principal
    not_before: int
    """Seconds since 1970."""
    expires: int
    """Seconds since 1970."""
    key: SigningKey
    mark: str = ""
    """Tells the key that its root had when it was registered from any other; empty in tokens of before there were."""

    def is_of(self, key: str) -> bool:
        """Whether that is still the key of the root, by its thumbprint."""
        return not self.mark or hmac.compare_digest(self.mark, mark_of(key, self.key))

    def check(self, now: float) -> None:
        """
        Raises:
            BadToken: this is not its time.
        """
        if now >= self.expires:
            raise BadToken("expired")
        if now < self.not_before - LEEWAY:
            raise BadToken("not valid yet")
        if not self.key.is_accepted(now):
            raise BadToken("signed by a key of long ago")


def mark_of(thumbprint: str, key: SigningKey) -> str:
    """Tells the key of a principal from any other, to those who have ours."""
    return hmac.new(key.secret, b"mcp-gateway root key\0" + thumbprint.encode(), hashlib.sha256).hexdigest()[:32]
