"""What a request is called in logs, traces and its answer's `X-Request-Id`: the client's own name for it, or ours."""

import re
import secrets
from itertools import count
from typing import Final

HEADER: Final = "x-request-id"

_SANE: Final = re.compile(r"[A-Za-z0-9._~:/+=@-]{1,128}")
_prefix: Final = secrets.token_hex(6)
"""Of this process: no other has the same."""

make: Final = map(f"{_prefix}-%x".__mod__, count(1)).__next__
"""Makes one that no other request has, in this process or another."""


def accepted(given: str | None) -> str:
    """What the client calls its request, if that can stand in a log and a header; else `make`."""
    return given if given is not None and _SANE.fullmatch(given) else make()
