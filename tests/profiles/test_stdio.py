"""A client on stdio that sees one profile, in both eras; and what the command line says of profiles."""

import json
import subprocess
from collections.abc import Generator
from pathlib import Path

import pytest

from tests.interaction._gateway import PATIENT, config_file, stdio_command
from tests.interaction._wire import Wire, piped, shake_hands
from tests.profiles.conftest import PROFILES, SERVERS
from tests.support import command, run_program


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return config_file(tmp_path_factory.mktemp("stdio"), SERVERS, profiles=PROFILES, **PATIENT)


def names(wire: Wire) -> list[str]:
    return [tool["name"] for tool in wire.listed("tools/list", "tools")]


@pytest.fixture(params=[False, True], ids=["handshake", "modern"])
def found(request: pytest.FixtureRequest, config: Path) -> Generator[Wire]:
    """An agent of the profile `found`."""
    with piped([*stdio_command(config), "--profile", "found"]) as pipe:
        if not request.param:
            shake_hands(pipe)
        yield Wire(pipe, request.param)


def test_the_agent_sees_the_profile_and_nothing_else(config: Path) -> None:
    with piped([*stdio_command(config), "--profile", "support"]) as pipe:
        shake_hands(pipe)
        wire = Wire(pipe, modern=False)
        assert names(wire) == ["all__echo", "all__slow", "raw__fail", "raw__process", "raw__raw", "repeat"]
        assert wire.call("repeat", a=1).result["structuredContent"] == {"a": 1}
        assert wire.call("spare__echo").error["code"] == -32602
        assert [each["uri"] for each in wire.listed("resources/list", "resources")] == ["raw://odd"]


def test_it_searches_and_calls_what_it_found(found: Wire) -> None:
    assert names(found) == ["call_tool", "find_tools", "raw__raw"]
    answer = found.call("find_tools", query="echo", limit=2)
    tools = [tool["name"] for tool in json.loads(answer.result["content"][0]["text"])["tools"]]
    assert set(tools) == {"raw__echo", "all__echo"}
    told = "notifications/tools/list_changed" in [one["method"] for one in answer.before]
    assert found.call("raw__echo", a=1).result["structuredContent"] == {"a": 1}
    assert found.call("call_tool", name="all__echo", arguments={"b": 2}).result["structuredContent"] == {"b": 2}
    if found.modern:
        assert not told
        assert names(found) == ["call_tool", "find_tools", "raw__raw"]
    else:
        assert told
        assert names(found) == ["all__echo", "call_tool", "find_tools", "raw__echo", "raw__raw"]


def run(config: Path, *args: str) -> "subprocess.CompletedProcess[str]":
    return run_program([*command("gateway", *args), "-c", str(config)])


def test_tools_shows_what_a_profile_lists(config: Path) -> None:
    done = run(config, "tools", "--profile", "found", "--json")
    assert [tool["name"] for tool in json.loads(done.stdout)] == ["call_tool", "find_tools", "raw__raw"]
    table = run(config, "tools", "--profile", "found").stdout
    assert next(line for line in table.splitlines() if line.startswith("find_tools")).split()[1] == "(gateway)"


def test_tokens_shows_what_each_view_costs(config: Path) -> None:
    done = run(config, "tools", "--tokens", "--json")
    views = {each["view"]: each for each in json.loads(done.stdout)}
    assert [*views] == ["/mcp", *(f"/mcp/{name}" for name in (*PROFILES, *SERVERS))]
    assert views["/mcp/found"]["tools"] == 3
    assert 0 < views["/mcp/found"]["tokens"] < views["/mcp"]["tokens"]
    assert "estimate" in views["/mcp"]["counted"]
    lines = run(config, "tools", "--tokens").stdout.splitlines()
    assert lines[0].split() == ["VIEW", "TOOLS", "TOKENS"]
    assert "an estimate (bytes ÷ 4), for tiktoken is not installed" in lines[-1]


def test_tokens_are_counted_where_there_is_a_tokenizer(config: Path, tmp_path: Path) -> None:
    """One that counts characters stands for it; the real one's words are fetched from the network."""
    (tmp_path / "tiktoken.py").write_text(
        "class Encoding:\n    def encode(self, text, disallowed_special):\n        return list(text)\n"
        "def get_encoding(name):\n    assert name == 'o200k_base'\n    return Encoding()\n"
    )
    args = [*command("gateway", "tools", "--tokens", "--json"), "-c", str(config)]
    counted = json.loads(run_program(args, env={"PYTHONPATH": str(tmp_path)}).stdout)
    estimated = json.loads(run(config, "tools", "--tokens", "--json").stdout)
    assert counted[0]["counted"] == "counted with tiktoken (o200k_base)"
    assert counted[0]["tokens"] > 2 * estimated[0]["tokens"]


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["stdio", "--profile", "suport"], "no profile 'suport'"),
        (["tools", "--profile", "suport"], "did you mean 'support'?"),
        (["client-config", "claude-code", "--profile", "nonesuch"], "no profile 'nonesuch'"),
        (["tools", "--tokens", "--profile", "support"], "--tokens is about all views"),
    ],
)
def test_a_profile_that_there_is_not_is_refused(config: Path, args: list[str], said: str) -> None:
    done = run(config, *args)
    assert done.returncode == 2
    assert said in done.stderr


def test_client_config_names_the_profile(config: Path) -> None:
    entry = json.loads(run(config, "client-config", "claude-code", "--profile", "support").stdout)
    (server,) = entry["mcpServers"].values()
    assert server["args"][-2:] == ["--profile", "support"]
    entry = json.loads(run(config, "client-config", "claude-code", "--http", "--profile", "support").stdout)
    (server,) = entry["mcpServers"].values()
    assert server["url"].endswith("/mcp/support")
