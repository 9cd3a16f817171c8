"""What the tests of this folder share."""

from collections.abc import Generator

import pytest

from tests.store.servers import ValkeyServer, valkey


@pytest.fixture(scope="session")
def server() -> Generator[ValkeyServer]:
    """A server that tests may use together, each under keys of its own."""
    with valkey() as running:
        yield running
