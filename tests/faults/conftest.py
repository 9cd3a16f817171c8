"""What the tests of faults share: an upstream with short times, and what becomes of calls of it."""

from collections.abc import Callable
from functools import partial

import pytest

from gateway.upstream.guardian import Guardian
from tests.upstream.conftest import PassTime, guardian, pass_time
from tests.upstream.test_upstream import Kept

__all__ = ["PassTime", "guardian", "pass_time"]

Keep = Callable[..., Kept]


@pytest.fixture
def keep(guardian: Guardian) -> Keep:
    return partial(Kept, guardian)
