"""The shipped `servers.yaml` teaches the format, so all of it must be true: what is on, and what is commented out."""

import re
from pathlib import Path

import pytest
from mcp import Client
from mcp.client.stdio import StdioServerParameters

from gateway.config import load

SHIPPED = Path(__file__).parents[2] / "servers.yaml"


@pytest.mark.anyio
@pytest.mark.parametrize(("name", "tool"), [("time", "now"), ("notes", "add")])
async def test_a_fresh_machine_can_start_every_server(name: str, tool: str, tmp_path: Path) -> None:
    config = load(SHIPPED, environ={}, dotenv=None)
    assert list(config.servers) == ["time", "notes"]
    assert not config.warnings
    server = config.servers[name]
    assert server.command
    env = {"HOME": str(tmp_path), **server.env}
    process = StdioServerParameters(command=server.command, args=server.args, env=env, cwd=tmp_path)
    async with Client(process) as client:
        assert tool in [item.name for item in (await client.list_tools()).tools]


def test_the_gateway_stays_on_this_machine() -> None:
    gateway = load(SHIPPED, environ={}, dotenv=None).gateway
    assert (gateway.host, gateway.port) == ("127.0.0.1", 8080)


def test_the_commented_servers_are_valid_too(tmp_path: Path) -> None:
    # A commented line of YAML starts with a key, a list or a deeper indent; a sentence has none of these.
    text = re.sub(r"^  # (?=[a-z]+:$|  )", "  ", SHIPPED.read_text("utf-8"), flags=re.MULTILINE)
    (tmp_path / "servers.yaml").write_text(text, "utf-8")
    config = load(tmp_path / "servers.yaml", environ={"GITHUB_TOKEN": "secret", "HOME": "/home/ada"}, dotenv=None)
    assert list(config.servers) == ["time", "notes", "github", "files"]
    github, files = config.servers["github"], config.servers["files"]
    assert github.headers == {"Authorization": "Bearer secret"}
    assert github.tools.offers("search_code")
    assert not github.tools.offers("issue_delete")
    assert files.lazy
    assert not config.warnings
