"""What the tests of this room share."""

import asyncio
from collections.abc import AsyncGenerator, Callable

import pytest

from gateway.upstream.guardian import Guardian

PassTime = Callable[[float], None]


@pytest.fixture
async def guardian(anyio_backend: object) -> AsyncGenerator[Guardian]:
    """A guardian that goes with the test."""
    guardian = Guardian()
    yield guardian
    await guardian.aclose()


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
