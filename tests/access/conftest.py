"""What the tests of this folder share."""

from tests.store.conftest import server

__all__ = ["server"]
