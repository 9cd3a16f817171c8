"""The end of what was opened with a credential that expires: streams last, and must not outlive it."""

import asyncio
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager

from gateway.request import Principal


def at_expiry(principal: Principal, end: Callable[[], None]) -> asyncio.TimerHandle | None:
    """Call `end`, once, when the principal's credential is accepted no longer, if the timer is not cancelled before.
    None where it never expires."""
    if principal.expires is None:
        return None
    left = principal.expires + principal.leeway - time.time()
    return asyncio.get_running_loop().call_later(max(0.0, left), end)


@contextmanager
def until_expiry(principal: Principal, end: Callable[[], None]) -> Generator[None]:
    """Call `end` then, if the block still runs."""
    timer = at_expiry(principal, end)
    try:
        yield
    finally:
        if timer is not None:
            timer.cancel()
