"""What every test shares: asyncio under anyio's pytest plugin."""

from collections.abc import Generator

import pytest
import structlog


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def fresh_logging() -> Generator[None]:
    """A verb run within this process sets up its logs; the next test's are not to be set by it."""
    yield
    structlog.reset_defaults()
