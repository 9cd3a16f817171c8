"""What the tests of faults share: an upstream with short times, and what becomes of calls of it."""

import asyncio
from collections.abc import Callable
from functools import partial

import pytest

from gateway.upstream import backoff
from gateway.upstream.guardian import Guardian
from tests.upstream.conftest import guardian
from tests.upstream.test_upstream import Kept

__all__ = ["guardian"]

Keep = Callable[..., Kept]
PassTime = Callable[[float], None]


@pytest.fixture(autouse=True)
def brisk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backoff, "BASE_SECONDS", 0.02)


@pytest.fixture
def keep(guardian: Guardian) -> Keep:
    return partial(Kept, guardian)


@pytest.fixture
async def pass_time(monkeypatch: pytest.MonkeyPatch) -> PassTime:
    """Puts the event loop's clock forward by so many seconds, which nobody has to wait for."""
    loop, passed = asyncio.get_running_loop(), 0.0
    clock = loop.time

    def put_forward(seconds: float) -> None:
        nonlocal passed
        passed += seconds

    monkeypatch.setattr(loop, "time", lambda: clock() + passed)
    return put_forward
