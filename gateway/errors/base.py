"""What all errors have in common."""

import math
from pathlib import Path
from typing import Any, Final

from gateway import protocol

RETRY_SECONDS: Final = 5
"""When to try again what failed for want of something that an operator has to mend."""


def tenths_up(seconds: float) -> float:
    """Rounded up, so that who comes back then does not come too early."""
    return math.ceil(seconds * 10) / 10


class GatewayError(Exception):
    """Base of every error the gateway answers with."""

    code: int = protocol.INTERNAL_ERROR
    status: int = 200
    outcome: str = "error"
    """What logs and metrics call it."""
    ends_exchange: bool = False
    """Whether over HTTP it is answered with its own `status` and `headers` even where a JSON-RPC answer is owed."""
    delivered: bool = True
    """Whether an upstream may have acted on the request."""
    retryable: bool = False
    """Whether the same request may succeed if it is sent once more."""
    is_answer: bool = False
    """Whether an upstream has answered, though not with what was wished for."""
    counts_for_breaker: bool = False
    """Whether it is an upstream's doing that there is no answer."""

    def __init__(self, message: str, *, data: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.data = data
        self.headers: dict[str, str] = {}
        """Further HTTP headers of the answer."""

    def code_in(self, era: protocol.Era) -> int:
        """The JSON-RPC code that agents of an era are told. The modern one has none of its own for a resource that is
        not there, and forbids the old one."""
        is_missing = self.code == protocol.RESOURCE_NOT_FOUND and era is protocol.Era.MODERN
        return protocol.INVALID_PARAMS if is_missing else self.code


class ConfigError(GatewayError):
    """The configuration cannot be used. The message names file, line, server and field."""

    outcome = "bad_config"

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.files: list[Path] = []
        """The files that were read, or should have been, as far as the reader says."""
