"""Two nodes with a store are restarted one after the other while agents with sessions call them all the time."""

import threading
from collections import Counter
from collections.abc import Generator
from itertools import count
from pathlib import Path

import pytest
from anyio.to_thread import run_sync as in_thread

from tests.interaction._gateway import child
from tests.interaction._http import open_session, post
from tests.interaction._wire import request
from tests.nodes import RunningNode, nodes
from tests.store.servers import ValkeyServer
from tests.support import wait_until

pytestmark = pytest.mark.anyio

AGENTS = 6


@pytest.fixture
def pair(server: ValkeyServer, tmp_path: Path) -> Generator[list[RunningNode]]:
    with nodes(tmp_path, {"raw": child("tests.servers.raw")}, store=server.url) as running:
        yield running


class Agents:
    """Each has a session and calls with it, this node and the other in turn. Who lets nobody in is passed over, as a
    proxy does."""

    def __init__(self, pair: list[RunningNode]) -> None:
        self.outcomes = Counter[str]()
        self._pair = pair
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._call_on, daemon=True) for _ in range(AGENTS)]

    def __enter__(self) -> "Agents":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(60)

    def _call_on(self) -> None:
        session = open_session(self._pair[0].url)
        for number in count():
            if self._over.is_set():
                return
            echo = request("tools/call", {"name": "raw__echo", "arguments": {"number": number}})
            for node in (self._pair[number % 2], self._pair[1 - number % 2]):
                try:
                    status, answer = post(node.url, echo, session)
                except ConnectionRefusedError:
                    continue
                except Exception as error:
                    self.outcomes[f"{type(error).__name__}: {error}"] += 1
                    break
                good = status == 200 and answer.get("result", {}).get("structuredContent") == {"number": number}
                self.outcomes["answered" if good else f"{status} {answer}"] += 1
                break
            else:
                self.outcomes["nobody was there"] += 1


async def test_no_call_is_lost_and_every_session_goes_on(pair: list[RunningNode]) -> None:
    with Agents(pair) as agents:

        async def go_on() -> None:
            before = agents.outcomes["answered"]
            await wait_until(lambda: agents.outcomes["answered"] >= before + 100, timeout=60)

        await go_on()
        for node in pair:
            await in_thread(node.restart)
            await go_on()
    assert agents.outcomes.keys() == {"answered"}, agents.outcomes
