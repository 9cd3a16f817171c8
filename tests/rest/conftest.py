"""One house for all tests that only look."""

from collections.abc import AsyncGenerator

import pytest

from gateway.upstream.link import State
from tests.rest.house import BROKEN, TIME, House, house
from tests.support import wait_until


@pytest.fixture(scope="package")
async def home(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[House]:
    """With `time`, which is ready, and `broken`, which never will be."""
    async with house(tmp_path_factory.mktemp("home"), {"time": TIME, "broken": BROKEN}) as home:
        states = home.gateway.upstreams
        await wait_until(lambda: states["time"].listing is not None, 30)
        await wait_until(lambda: states["broken"].status.state is State.BACKING_OFF)
        yield home
