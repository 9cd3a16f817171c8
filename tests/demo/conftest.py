"""Starts a demo server as a process, the way the gateway does, and connects the SDK's client to it."""

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from mcp import Client
from mcp.client.session import MessageHandlerFnT
from mcp.client.stdio import StdioServerParameters

Connect = Callable[..., Client]
"""`(server, on_message=None, **environment)`: a client to enter, of a fresh process whose home is the test's folder."""


def start(
    mode: str, home: Path, server: str, on_message: MessageHandlerFnT | None = None, **environment: str
) -> Client:
    process = StdioServerParameters(
        command=sys.executable, args=["-P", "-m", f"gateway.demo.{server}"], env={"HOME": str(home), **environment}
    )
    return Client(process, mode=mode, message_handler=on_message, read_timeout_seconds=30)


@pytest.fixture(params=["auto", "legacy"])
def mode(request: pytest.FixtureRequest) -> str:
    """`auto` ends in the modern era, `legacy` in the handshake era."""
    return request.param


@pytest.fixture
def connect(mode: str, tmp_path: Path) -> Connect:
    """In both eras."""
    return partial(start, mode, tmp_path)


@pytest.fixture
def connect_modern(tmp_path: Path) -> Connect:
    """For what has nothing to do with the era."""
    return partial(start, "auto", tmp_path)
