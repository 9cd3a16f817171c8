"""What the tests of this room share."""

from collections.abc import AsyncGenerator

import pytest

from gateway.upstream.guardian import Guardian


@pytest.fixture
async def guardian(anyio_backend: object) -> AsyncGenerator[Guardian]:
    """A guardian that goes with the test."""
    guardian = Guardian()
    yield guardian
    await guardian.aclose()
