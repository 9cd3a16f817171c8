"""Several gateways behind one address: processes that stop, die and start again, and clients that meet another of them
with each request."""

import signal
from collections.abc import Generator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from itertools import cycle
from pathlib import Path
from typing import Any, Final

import httpx2

from tests.interaction._gateway import PATIENT, Entry, Gateway, http_gateway
from tests.support import free_port

STATE_KEYS: Final = ["a key that seals what agents carry, long enough"]


class RunningNode:
    """One gateway, always at the same address and with the same state folder."""

    def __init__(self, folder: Path, servers: Mapping[str, Entry], settings: Mapping[str, Any]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._servers = servers
        self._settings = {**PATIENT, "port": free_port(), **settings}
        self._stack = ExitStack()
        self._gateway: Gateway | None = None
        self.base = f"http://127.0.0.1:{self._settings['port']}"

    @property
    def url(self) -> str:
        return f"{self.base}/mcp"

    def start(self) -> None:
        self._gateway = self._stack.enter_context(http_gateway(self._folder, self._servers, **self._settings))

    def stop(self) -> None:
        """As an operator does it: with SIGTERM, and until it has ended."""
        assert self._gateway is not None
        self._gateway.process.send_signal(signal.SIGTERM)
        assert self._gateway.process.wait(30) == 0
        self.kill()

    def kill(self) -> None:
        """With SIGKILL, and its children too."""
        self._stack.close()

    def restart(self) -> None:
        self.stop()
        self.start()


@contextmanager
def nodes(folder: Path, servers: Mapping[str, Entry], count: int = 2, **settings: Any) -> Generator[list[RunningNode]]:
    """That many gateways with the same servers and keys, each with its own state folder."""
    settings = {"state_keys": STATE_KEYS, **settings}
    some = [RunningNode(folder / f"node{number}", servers, settings) for number in range(count)]
    with ExitStack() as stack:
        for node in some:
            stack.callback(node.kill)
        with ThreadPoolExecutor(count) as pool:
            list(pool.map(RunningNode.start, some))
        yield some


class Alternating(httpx2.AsyncHTTPTransport):
    """Sends each request to the next of several nodes."""

    def __init__(self, nodes: list[RunningNode]) -> None:
        super().__init__()
        self._nodes = cycle(nodes)
        self.sent: list[tuple[str, RunningNode]] = []
        """Method and node of each."""

    def choose(self, request: httpx2.Request) -> RunningNode:
        return next(self._nodes)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        node = self.choose(request)
        self.sent.append((request.method, node))
        base = httpx2.URL(node.base)
        request.url = request.url.copy_with(port=base.port)
        request.headers["host"] = base.netloc.decode()
        return await super().handle_async_request(request)


class FirstThen(Alternating):
    """Opens the session at the first node, and sends all else to the second."""

    def choose(self, request: httpx2.Request) -> RunningNode:
        if not self.sent:
            self._first, self._second = next(self._nodes), next(self._nodes)
        return self._first if b'"initialize"' in request.content else self._second
