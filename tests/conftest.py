"""What every test shares: asyncio under anyio's pytest plugin."""

from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
import structlog
from hypothesis import settings
from xdist.scheduler import LoadScopeScheduling  # pyright: ignore[reportMissingTypeStubs]

settings.register_profile("fuzz", max_examples=20_000, deadline=None)  # `just fuzz`


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A folder's tests share what they start, so where several run at a time one process has them all."""
    for item in items:
        item.add_marker(pytest.mark.xdist_group(item.path.relative_to(Path(__file__).parent).parts[0]))


class _Scheduling(LoadScopeScheduling):
    """As `--dist load`, but the tests of a file in tests/deploy, which start much, go to one process.

    pytest-xdist 3.8 does not bring about its own groups with pytest 9.2: it writes them into an attribute that is gone.
    """

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return file if file.startswith("tests/deploy/") else nodeid


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> _Scheduling | None:
    return _Scheduling(config, log) if config.option.dist == "loadgroup" else None


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def fresh_logging() -> Generator[None]:
    """A verb run within this process sets up its logs; the next test's are not to be set by it."""
    yield
    structlog.reset_defaults()
