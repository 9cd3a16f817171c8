"""What every test shares: asyncio under anyio's pytest plugin, and a log that no verb has set up for good."""

import logging
from collections.abc import Generator

import pytest
import structlog


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def log_restored() -> Generator[None]:
    """For tests that run verbs in this process: those set up the log, and the next test's is as it was."""
    root = logging.getLogger()
    before, handlers, level = structlog.get_config(), list(root.handlers), root.level
    yield
    structlog.configure(**before)
    root.handlers[:] = handlers
    root.setLevel(level)
