"""What every test shares: asyncio under anyio's pytest plugin."""

from collections.abc import Generator
from pathlib import Path

import pytest
import structlog
from hypothesis import settings

settings.register_profile("fuzz", max_examples=20_000, deadline=None)  # `just fuzz`


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A folder's tests share what they start, so where several run at a time one process has them all."""
    for item in items:
        item.add_marker(pytest.mark.xdist_group(item.path.relative_to(Path(__file__).parent).parts[0]))


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def fresh_logging() -> Generator[None]:
    """A verb run within this process sets up its logs; the next test's are not to be set by it."""
    yield
    structlog.reset_defaults()
