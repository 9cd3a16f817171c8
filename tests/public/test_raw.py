"""What servers that others wrote put into their lists and results beyond what the SDK knows arrives all the same."""

import json
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, Final

import pytest

from gateway.config.reading.loader import load
from tests.public.conftest import SERVERS, Place
from tests.servers.peers import OPENING, Pipe, post, request
from tests.support import run_process

CALLS: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    "time": ("get_current_time", {"timezone": "Mars/Olympus_Mons"}),
    "git": ("git_log", {"repo_path": "/"}),
    "everything": ("get-annotated-message", {"messageType": "success", "includeImage": True}),
    "files": ("list_allowed_directories", {}),
    "memory": ("search_nodes", {"query": "nothing like it"}),
}
"""For each server one whose answer is always the same."""


class Handshaken:
    """A program, spoken to without any SDK."""

    def __init__(self, pipe: Pipe) -> None:
        self._pipe = pipe
        self.ask("initialize", OPENING)
        pipe.send({"jsonrpc": "2.0", "method": "notifications/initialized"})

    def ask(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        """The result; what the program says besides is passed over."""
        self._pipe.send(request(method, params))
        while True:
            for line in self._pipe.receive().splitlines():
                message = json.loads(line)
                if message.get("id") == method:
                    return message["result"]


@contextmanager
def started(place: Place, name: str) -> Generator[Handshaken]:
    environment = {**place.variables, "OWN": str(place.folder)}
    server = load(SERVERS, environ=environment, dotenv=None).servers[name]
    with run_process([server.command or "", *server.args], env=server.env, piped=True) as process:
        yield Handshaken(Pipe(process))


@pytest.mark.parametrize("name", CALLS)
def test_lists_and_results_arrive_whole(place: Place, gateway: str, name: str) -> None:
    tool, arguments = CALLS[name]
    with started(place, name) as server:
        listed = server.ask("tools/list", {})
        called = server.ask("tools/call", {"name": tool, "arguments": arguments})
    assert _through(gateway, name, "tools/list", {})["tools"] == listed["tools"]
    answered = _through(gateway, name, "tools/call", {"name": tool, "arguments": arguments})
    # What a modern server says of itself in each result, and did not say to us, who spoke to it as of old.
    assert answered.pop("_meta", {}).keys() <= {"io.modelcontextprotocol/serverInfo"}
    assert answered == called


def _through(gateway: str, name: str, method: str, params: dict[str, Any]) -> dict[str, Any]:
    """The result by way of the gateway's view of that one server."""
    status, body = post(f"{gateway}/mcp/{name}", request(method, params))
    assert status == 200
    return json.loads(body)["result"]
