"""An API behind two workers, and behind two nodes, with many calls at once: each is made once, and has its answer."""

import json
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from tests.access.door import ask, open_session, rpc, tools
from tests.interaction._http import fields, kept_alive
from tests.interaction._wire import request
from tests.openapi.conftest import Seen, entry
from tests.profiles.conftest import key
from tests.store.nodes import gateways
from tests.store.servers import valkey
from tests.workers.supervised import supervised, wait_for

THREADS: Final = 8
CALLS: Final = 25
"""Of each thread."""


def load(urls: Iterable[str], headers: dict[str, str] | None = None) -> list[tuple[str, Any]]:
    """Titles that were sent, and what came back, from threads that each keep a connection for a while."""
    given = [*urls]

    def work(thread: int) -> list[tuple[str, Any]]:
        found: list[tuple[str, Any]] = []
        for part in range(0, CALLS, 5):  # then over another connection, which another worker may have
            with kept_alive(given[(thread + part) % len(given)]) as ask_:
                for number in range(part, part + 5):
                    title = f"{thread} {number}"
                    arguments = {"body": {"title": title}}
                    params = {"name": "library__createWork", "arguments": arguments}
                    message = request("tools/call", params, modern=True)
                    found.append((title, ask_(message, {**fields(message), **(headers or {})})))
        return found

    with ThreadPoolExecutor(THREADS) as pool:
        return [each for some in pool.map(work, range(THREADS)) for each in some]


def check(answers: list[tuple[str, Any]], seen: Seen) -> None:
    """Each call got its own answer, and the API each of them once."""
    assert len(answers) == THREADS * CALLS
    for title, (status, answer) in answers:
        assert status == 200, answer
        assert answer["result"]["structuredContent"]["title"] == title
    made = Counter(json.loads(each["body"])["title"] for each in seen if each["method"] == "POST")
    assert made == Counter(title for title, _ in answers)


def test_two_workers(library: str, seen: Seen, tmp_path: Path) -> None:
    with supervised(tmp_path, {"library": entry(library)}) as gateway:
        check(load([gateway.url]), seen)
        wait_for(lambda: len(gateway.served()) == THREADS * CALLS)
        assert len(set(gateway.served())) == 2


def test_two_nodes(library: str, seen: Seen, tmp_path: Path) -> None:
    keys = [key("free")]
    with valkey() as store, gateways(tmp_path, {"library": entry(library)}, store.url, keys) as (one, other):
        check(load([f"{door.base}/mcp" for door in (one, other)], {"X-Api-Key": "key-free"}), seen)
        session = open_session(one, "key-free")
        call = rpc("tools/call", {"name": "library__getWork", "arguments": {"work_id": "3"}})
        for door in (one, other):
            assert ask(door, "key-free", call, **session).json()["result"]["structuredContent"]["title"] == "3"
            assert "library__getWork" in tools(ask(door, "key-free", rpc("tools/list"), **session))
