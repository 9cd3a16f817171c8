"""What every test shares: asyncio under anyio's pytest plugin."""

from collections.abc import Generator

import pytest
import structlog
from hypothesis import settings

settings.register_profile("fuzz", max_examples=20_000, deadline=None)  # `just fuzz`


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def fresh_logging() -> Generator[None]:
    """A verb run within this process sets up its logs; the next test's are not to be set by it."""
    yield
    structlog.reset_defaults()
