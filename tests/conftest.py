"""What every test shares: asyncio under anyio's pytest plugin, and how the tests are dealt out to several workers."""

import os
import ssl
from collections.abc import Generator
from functools import cache
from typing import Final

import httpcore2
import pytest
import structlog
from hypothesis import HealthCheck, settings
from xdist.remote import Producer  # pyright: ignore[reportMissingTypeStubs]
from xdist.scheduler import LoadFileScheduling  # pyright: ignore[reportMissingTypeStubs]

settings.register_profile("fuzz", max_examples=20_000, deadline=None)  # `just fuzz`
settings.register_profile("patient", settings.default, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")  # however busy the machine is

WHOLE: Final = ("tests/public/", "tests/interaction/")
"""Folders that start their servers once for all their files: one worker has all of such a folder."""
LONG: Final = (
    *WHOLE,
    "tests/deploy/",
    "tests/scripts/test_readme.py",
    "tests/faults/",
    "tests/frontend/test_stdio.py",
    "tests/frontend/test_shared_sessions.py",
    "tests/frontend/test_nodes.py",
    "tests/store/",
    "tests/frontend/",
    "tests/bench/",
    "tests/upstream/test_guardian.py",
    "tests/access/test_expiry.py",
    "tests/cli/",
    "tests/demo/",
)
"""What is begun first, because it takes long: so that no worker is at it still when all others are done."""


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def fresh_logging() -> Generator[None]:
    """A verb run within this process sets up its logs; the next test's are not to be set by it."""
    yield
    structlog.reset_defaults()


# --- One TLS context for all clients, each of which would read the certificates of the system, for 40 ms of CPU ------

_default_ssl_context = httpcore2.default_ssl_context


@cache
def _made(trust_env: bool, *certificates: str | None) -> ssl.SSLContext:
    return _default_ssl_context(_trust_env=trust_env)


def _shared_ssl_context(*, _trust_env: bool = True) -> ssl.SSLContext:
    return _made(_trust_env, *(os.environ.get(name) for name in ("SSL_CERT_FILE", "SSL_CERT_DIR")))


httpcore2.default_ssl_context = _shared_ssl_context


# --- Several workers, as `scripts/test` has them ---------------------------------------------------------------------


class _Scheduling(LoadFileScheduling):
    """Deals out files, and whole folders that are `WHOLE`, in the order they were collected in."""

    def _split_scope(self, nodeid: str) -> str:
        return next((folder for folder in WHOLE if nodeid.startswith(folder)), super()._split_scope(nodeid))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadFileScheduling | None:
    return _Scheduling(config, log) if config.getoption("dist") == "loadfile" else None


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if hasattr(config, "workerinput"):
        items.sort(key=_begun)


def _begun(item: pytest.Item) -> int:
    return next((number for number, start in enumerate(LONG) if item.nodeid.startswith(start)), len(LONG))
