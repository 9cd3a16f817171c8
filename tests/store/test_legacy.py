"""The legacy transport with two nodes: its stream at one, and what is sent for it at the other."""

import json
from collections.abc import Generator
from pathlib import Path

import pytest

from tests.interaction._gateway import child
from tests.interaction._http import Sse, post, sent
from tests.interaction._wire import INITIALIZED, Message, request, until_answer
from tests.nodes import RunningNode, nodes
from tests.servers.peers import OPENING
from tests.store.servers import ValkeyServer

MINE, THEIRS = ({"X-Api-Key": f"key-{name}"} for name in ("a", "b"))


@pytest.fixture
def pair(server: ValkeyServer, tmp_path: Path) -> Generator[list[RunningNode]]:
    (keys := tmp_path / "keys.json").write_text(
        json.dumps([{"id": name, "key": f"key-{name}", "owner": name, "rate_limit_rpm": -1} for name in ("a", "b")])
    )
    auth = {"enabled": True, "api_keys_file": str(keys)}
    with nodes(tmp_path, {"raw": child("tests.servers.raw")}, store=server.url, auth=auth) as running:
        yield running


def test_a_message_finds_the_node_that_has_the_stream(pair: list[RunningNode]) -> None:
    one, other = pair
    with sent("GET", f"{one.base}/sse", headers={"Accept": "text/event-stream", **MINE}) as response:
        stream = Sse(response, other.base)

        def exchange(message: Message) -> Message:
            assert post(stream.endpoint, message, MINE) == (202, None)
            *before, answer = until_answer(stream.receive, message["id"])
            assert all("method" in each for each in before)
            return answer

        assert exchange(request("initialize", OPENING))["result"]["capabilities"]
        assert post(stream.endpoint, INITIALIZED, MINE) == (202, None)
        echo = request("tools/call", {"name": "raw__echo", "arguments": {"x": 1}})
        # Nobody else can speak there, wherever it is tried: had this been taken, its answer would come first.
        for address in (stream.endpoint, stream.endpoint.replace(other.base, one.base)):
            post(address, request("ping"), THEIRS)
        assert exchange(echo)["result"]["structuredContent"] == {"x": 1}
        assert post(f"{stream.endpoint}0", request("ping"), MINE)[0] == 404
