"""Clients that others wrote find and use what is behind the gateway: libraries, bridges and command lines.

Those that connect over HTTP and SSE show an API key; those that start the gateway themselves get a small one. Each is a
program of its own, which takes a second to load: they run side by side, before the first is asked for.
"""

import json
import os
import subprocess
import sys
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import pytest

from tests.public.conftest import KEY, More, Place
from tests.public.packages import Packages
from tests.servers.peers import OPENING, Pipe, request
from tests.support import ROOT, run_process

SECONDS: Final = 120.0
"""Longest a client may take, the start of a gateway for it included."""
TOOL: Final = "hello__echo"
ARGUMENTS: Final = {"message": "Grüße, 世界 🎉"}
ANSWER: Final = "You said: Grüße, 世界 🎉"

LIBRARIES: Final = {
    "fastmcp": ["http", "sse", "stdio"],
    "openai_agents": ["http", "sse", "stdio"],
    "pydantic_ai": ["http"],
    "mcp": ["http", "sse", "stdio"],
    "langchain": ["http", "sse", "stdio"],
    "mcp_use": ["http", "stdio"],
    "mcpadapt": ["http", "sse"],
}
"""Of Python, and the transports they have; those of TypeScript have a file of their own."""
ON_THE_NEWER_SDK: Final = ("fastmcp", "openai_agents", "pydantic_ai")

BRIDGES: Final = ["mcp-remote", "mcp-remote-sse", "supergateway", "supergateway-sse", "mcp-proxy", "mcp-proxy-sse"]
"""Programs that speak stdio to an agent and HTTP or SSE to a server."""

Seen = dict[str, Any]


@pytest.fixture(scope="module")
def libraries(
    request: pytest.FixtureRequest, packages: Packages, place: Place, more: More
) -> Generator[Mapping[str, Future[dict[str, Seen]]]]:
    """What the agents saw, by transport: of those libraries that are asked for in this run."""
    selected = " ".join(item.name for item in request.session.items)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        yield {
            library: pool.submit(_run_agent, packages, place, more, library)
            for library in LIBRARIES
            if f"[{library}-" in selected
        }


def _run_agent(packages: Packages, place: Place, more: More, library: str) -> dict[str, Seen]:
    programs = packages.programs if library in ON_THE_NEWER_SDK else packages.older_programs
    asked = {
        "library": library,
        "transports": LIBRARIES[library],
        "urls": {"http": f"{more.url}/mcp", "sse": f"{more.url}/sse"},
        "key": KEY,
        "tool": TOOL,
        "arguments": ARGUMENTS,
        **_small_gateway(packages, place.environment(library)["OWN"]),
    }
    agent = Path(__file__).with_name("agent.py")
    return json.loads(_output([programs / "python", agent, json.dumps(asked)]).splitlines()[-1])


def _small_gateway(packages: Packages, folder: str) -> dict[str, Any]:
    """How a client starts a gateway to one server."""
    hello = {"command": "node", "args": [str(packages.node / "node_modules/mcp-hello-world/build/stdio.js")]}
    (file := Path(folder, "servers.json")).write_text(
        json.dumps({"gateway": {"state_dir": folder, "startup_wait": "60s"}, "mcpServers": {"hello": hello}})
    )
    args = ["-m", "gateway", "stdio", "-c", str(file)]
    return {"command": sys.executable, "args": args, "env": {**os.environ, "PYTHONPATH": str(ROOT)}}


def _output(command: Sequence[str | Path], **env: str) -> str:
    quiet = {"MCP_USE_ANONYMIZED_TELEMETRY": "false", "LANGSMITH_TRACING": "false", "NO_COLOR": "1"}
    done = subprocess.run(command, env=os.environ | quiet | env, capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("library", "transport"),
    [(library, transport) for library, transports in LIBRARIES.items() for transport in transports],
)
def test_a_library_lists_everything_and_gets_answers(
    libraries: Mapping[str, Future[dict[str, Seen]]], more: More, library: str, transport: str
) -> None:
    seen = libraries[library].result()[transport]
    assert "error" not in seen, seen["error"]
    expected = more.tools if transport != "stdio" else [name for name in more.tools if name.startswith("hello__")]
    assert sorted(seen["tools"]) == expected
    assert seen["text"] == ANSWER


@pytest.mark.parametrize("bridge", BRIDGES)
def test_a_bridge_passes_everything_on(packages: Packages, more: More, bridge: str) -> None:
    with run_process(_bridge(packages, more, bridge), piped=True) as process:
        pipe = Pipe(process)

        def ask(method: str, params: dict[str, Any]) -> Any:
            pipe.send(request(method, params))
            while True:
                for line in pipe.receive().splitlines():
                    if (message := json.loads(line)).get("id") == method:
                        return message["result"]

        assert ask("initialize", OPENING)["serverInfo"]["name"] == "mcp-gateway"
        pipe.send({"jsonrpc": "2.0", "method": "notifications/initialized"})
        tools = ask("tools/list", {})["tools"]
        answer = ask("tools/call", {"name": TOOL, "arguments": ARGUMENTS})
    assert sorted(tool["name"] for tool in tools) == more.tools
    assert answer["content"] == [{"type": "text", "text": ANSWER}]


def _bridge(packages: Packages, more: More, name: str) -> list[str]:
    sse = name.endswith("-sse")
    url = more.url + ("/sse" if sse else "/mcp")
    modules = packages.node / "node_modules"
    match name.removesuffix("-sse"):
        case "mcp-remote":
            transport = ["--transport", "sse-only" if sse else "http-only", "--allow-http"]
            return ["node", str(modules / "mcp-remote/dist/proxy.js"), url, "--header", f"X-API-Key:{KEY}", *transport]
        case "supergateway":
            flags = ["--sse" if sse else "--streamableHttp", url, "--header", f"X-API-Key: {KEY}", "--logLevel", "none"]
            return ["node", str(modules / "supergateway/dist/index.js"), *flags]
        case _:
            transport = "sse" if sse else "streamablehttp"
            return [str(packages.older_programs / "mcp-proxy"), "-H", "X-API-Key", KEY, "--transport", transport, url]


@pytest.mark.parametrize("transport", ["http", "sse"])
def test_the_inspectors_command_line_shows_what_there_is(packages: Packages, more: More, transport: str) -> None:
    url = more.url + ("/sse" if transport == "sse" else "/mcp")
    inspector = packages.modules / "inspector/cli/build/cli.js"

    def inspect(*arguments: str) -> Any:
        flags = ["--cli", url, "--transport", transport, "--header", f"X-API-Key: {KEY}"]
        return json.loads(_output(["node", inspector, *flags, *arguments]))

    listed = inspect("--method", "tools/list")["tools"]
    assert sorted(tool["name"] for tool in listed) == more.tools
    called = inspect("--method", "tools/call", "--tool-name", TOOL, "--tool-arg", f"message={ARGUMENTS['message']}")
    assert called["content"] == [{"type": "text", "text": ANSWER}]
