"""What every test shares: asyncio under anyio's pytest plugin."""

import pytest


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"
