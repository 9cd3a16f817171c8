"""The TypeScript SDK's clients on two gateways that share a store: any node serves any request, and both restart."""

import json
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest

from tests.nodes import nodes
from tests.public.packages import Packages
from tests.store.servers import valkey
from tests.support import http_server

AGENT: Final = Path(__file__).with_name("nodes.mjs")
SECONDS: Final = 120.0


@pytest.mark.parametrize("sdk", ["v1", "v2"])
def test_a_session_alternates_between_nodes_that_restart_meanwhile(
    packages: Packages, tmp_path: Path, sdk: str
) -> None:
    go = tmp_path / "go"
    with (
        http_server("tests.servers.everything", "--era", "handshake") as url,
        valkey() as store,
        nodes(tmp_path, {"up": {"url": url}}, store=store.url) as pair,
    ):
        asked: dict[str, Any] = {"sdk": sdk, "nodes": [node.url for node in pair], "server": "up", "go": str(go)}
        agent = subprocess.Popen(
            ["node", "--input-type=module", "-", json.dumps(asked)],
            cwd=packages.node,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        with agent:
            assert agent.stdin is not None
            assert agent.stdout is not None
            try:
                agent.stdin.write(AGENT.read_text())
                agent.stdin.close()
                assert agent.stdout.readline() == "half\n"
                pair[0].kill()
                pair[0].start()
                pair[1].restart()
                go.touch()
                seen = json.loads(agent.stdout.readline())
                assert agent.wait(SECONDS) == 0
            finally:
                agent.kill()
    assert seen["names"] == [True] * 8
    assert len(set(seen["tools"])) == 1
    assert min(seen["nodes"].values()) >= 6
