"""Results that fit, of other kinds of servers, for the APIs of models, and on the command line."""

import json
import subprocess
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from tests.dialects.apis import APIS
from tests.interaction._gateway import PATIENT, child, config_file, http_gateway
from tests.interaction._http import HttpChannel, open_session
from tests.interaction._wire import Wire
from tests.openapi.conftest import entry
from tests.results.conftest import LARGE, LINES, RESULTS, contents, cut, read_all
from tests.support import command, free_port, listens, run_process, run_program

ERAS = pytest.mark.parametrize("modern", [False, True], ids=["handshake", "modern"])


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Generator[str]:
    """A gateway with an HTTP API, and a profile for each API of models."""
    folder, port = tmp_path_factory.mktemp("kinds"), free_port()
    profiles: dict[str, Any] = {name: {"servers": ["large"], "schema": name} for name in APIS}
    with run_process(command("tests.servers.library", "--port", str(port)), ready=lambda: listens(port)):
        api = entry(f"http://127.0.0.1:{port}", results={"tools": {"deep_*": 500}})
        servers = {"api": api, "large": child(LARGE, results=RESULTS)}
        with http_gateway(folder, servers, profiles=profiles, **PATIENT) as gateway:
            yield gateway.base


def agent(base: str, path: str = "", *, modern: bool) -> Wire:
    url = f"{base}/mcp{path}"
    return Wire(HttpChannel(url, {} if modern else open_session(url)), modern)


@ERAS
def test_what_an_api_says(base: str, modern: bool) -> None:
    wire = agent(base, modern=modern)
    tools = {tool["name"]: tool for tool in wire.listed("tools/list", "tools")}
    (name,) = (name for name in tools if name.startswith("api__deep"))
    assert "outputSchema" not in tools[name]
    assert "outputSchema" in tools["api__getWork"]
    short = wire.call(name, filter={"color": "red"}).result
    assert json.loads(short["content"][0]["text"]) == short["structuredContent"]
    made = cut(wire, name, filter={"color": "red " * 2000})
    assert "structuredContent" not in made.result
    whole = contents(wire, made.uri)["text"]
    assert made.head + read_all(wire, made) == whole
    assert json.loads(whole)["query"].count("red") == 2000


@ERAS
@pytest.mark.parametrize("api", APIS)
def test_the_tool_that_reads_on_is_one_that_the_api_takes(base: str, api: str, modern: bool) -> None:
    wire = agent(base, f"/{api}", modern=modern)
    tools = {tool["name"]: tool for tool in wire.listed("tools/list", "tools")}
    assert not list(APIS[api](tools["read_result"]["inputSchema"]))
    made = cut(wire, "large__lines")
    assert made.head + read_all(wire, made) == LINES
    given = {"uri": made.uri, "start": 3, "length": None}
    read = wire.call("read_result", **given).result
    assert LINES[3:].startswith(read["content"][0]["text"])


# --- The command line -------------------------------------------------------------------------------------------------


def run(folder: Path, *args: str) -> "subprocess.CompletedProcess[str]":
    config = config_file(folder, {"large": child(LARGE, results=RESULTS)}, **PATIENT)
    return run_program([*command("gateway", *args), "-c", str(config)])


def test_call_shows_what_an_agent_is_given_or_all_of_it(tmp_path: Path) -> None:
    bounded = run(tmp_path, "call", "large__lines")
    assert bounded.returncode == 0
    head, _, note = bounded.stdout.partition("[Cut by the gateway: ")
    assert LINES.startswith(head)
    assert "To read on, call read_result with" in note
    assert "--whole prints all of it" in bounded.stderr
    whole = run(tmp_path, "call", "large__lines", "--whole")
    assert (whole.stdout.rstrip("\n"), whole.stderr) == (LINES.rstrip("\n"), "")


def test_tools_shows_whose_it_is_and_what_it_costs(tmp_path: Path) -> None:
    (line,) = [line for line in run(tmp_path, "tools").stdout.splitlines() if line.startswith("read_result ")]
    assert line.split()[1] == "(gateway)"
    views = {each["view"]: each for each in json.loads(run(tmp_path, "tools", "--tokens", "--json").stdout)}
    assert {path: each["tools"] for path, each in views.items()} == {"/mcp": 6, "/mcp/large": 6}
