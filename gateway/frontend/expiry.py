"""The end of what was opened with a credential that expires: streams last, and must not outlive it."""

import asyncio
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager

from gateway.request import Principal


@contextmanager
def until_expiry(principal: Principal, end: Callable[[], None]) -> Generator[None]:
    """Call `end`, once, when the principal's credential is accepted no longer, if the block still runs then."""
    if principal.expires is None:
        yield
        return
    left = principal.expires + principal.leeway - time.time()
    timer = asyncio.get_running_loop().call_later(max(0.0, left), end)
    try:
        yield
    finally:
        timer.cancel()
