"""The house these tests are in: servers and clients from the registries, one gateway over HTTP, one over stdio.

Everything here is made once. Starting six programs takes seconds, so that connections are shared by all tests of the
folder; no test depends on what another left behind.
"""

import json
import shlex
import subprocess
import sys
from collections.abc import AsyncGenerator, Generator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

import anyio
import pytest
from mcp import Client, StdioServerParameters
from mcp.client.sse import sse_client
from mcp.client.stdio import stdio_client
from mcp_types import ServerNotification

from gateway.config.models import ServerConfig
from gateway.config.reading.loader import load
from tests.public.conversations import CONVERSATIONS, View
from tests.public.more import MORE_SERVERS, Said, ask_directly, ask_over_http
from tests.public.packages import OutOfReach, Packages, fetch
from tests.support import ROOT, command, free_port, listens, run_process

SERVERS: Final = Path(__file__).with_name("servers.yaml")
"""The one configuration of all gateways here."""

LETTER: Final = "Dear reader,\nthis is the second line.\n"


@pytest.fixture(scope="session")
def packages() -> Packages:
    try:
        return fetch()
    except OutOfReach as error:
        pytest.skip(f"needs programs of others: {error}")


@dataclass(frozen=True, slots=True)
class Place:
    """Where the servers work, and what a gateway has to know to start or reach them."""

    folder: Path
    files: Path
    repository: Path
    variables: Mapping[str, str]
    """What `servers.yaml` leaves open, but for `OWN`."""

    def environment(self, name: str) -> dict[str, str]:
        """For a gateway of that name, which gets a folder of its own, and the same each time."""
        own = self.folder / name
        own.mkdir(exist_ok=True)
        return {**self.variables, "OWN": str(own)}


@pytest.fixture(scope="session")
def place(packages: Packages, tmp_path_factory: pytest.TempPathFactory) -> Generator[Place]:
    """A folder with a letter, a repository with two commits, and the two servers that listen on a port."""
    folder = tmp_path_factory.mktemp("public")
    files, repository = folder / "files", folder / "repository"
    files.mkdir()
    (files / "letter.txt").write_text(LETTER)
    _make_repository(repository)
    sse, http = free_port(), free_port()
    variables = {
        "PROGRAMS": str(packages.programs),
        "MODULES": str(packages.modules),
        "OLDER_PROGRAMS": str(packages.older_programs),
        "NODE_MODULES": str(packages.node / "node_modules"),
        "REPOSITORY": str(repository),
        "FILES": str(files),
        "SSE_PORT": str(sse),
        "HTTP_PORT": str(http),
    }
    with everything_listens(packages, "sse", sse), everything_listens(packages, "streamableHttp", http):
        yield Place(folder, files, repository, variables)


@contextmanager
def everything_listens(packages: Packages, transport: str, port: int) -> Generator[None]:
    """Run server-everything on a port."""
    program = packages.modules / "server-everything/dist/index.js"
    with run_process(["node", str(program), transport], ready=lambda: listens(port), env={"PORT": str(port)}):
        yield


def _make_repository(folder: Path) -> None:
    def git(*args: str) -> None:
        person = ["-c", "user.name=Ada", "-c", "user.email=ada@example.com"]
        subprocess.run(["git", "-C", str(folder), *person, *args], check=True, capture_output=True)

    folder.mkdir()
    git("init", "--initial-branch=main")
    for line in ("first", "second"):
        (folder / "poem.txt").write_text(line + "\n")
        git("add", "poem.txt")
        git("commit", "-m", f"The {line} line")


# --- The servers without the gateway --------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def direct(place: Place) -> dict[str, dict[str, Any]]:
    """What each server answered to the SDK's client, by the server's name: `tools`, and `answers` to be equalled."""
    environment = place.environment("direct")
    return anyio.run(_ask_all, load(SERVERS, environ=environment, dotenv=None).servers, place)


async def _ask_all(servers: Mapping[str, ServerConfig], place: Place) -> dict[str, dict[str, Any]]:
    said: dict[str, dict[str, Any]] = {}

    async def ask(name: str) -> None:
        with (place.folder / "direct" / f"{name}.log").open("w") as log:
            async with Client(_transport(servers[name], log), mode="auto") as client:
                view = View(client)
                said[name] = {
                    "tools": await view.tools(),
                    "answers": await CONVERSATIONS[name](view, works_on(place, name)),
                }

    async with anyio.create_task_group() as tg:
        for name in servers:
            tg.start_soon(ask, name)
    return said


def _transport(server: ServerConfig, log: Any) -> Any:
    if server.type == "sse":
        return sse_client(server.url or "")
    if server.type == "http":
        return server.url
    return stdio_client(StdioServerParameters(command=server.command or "", args=server.args, env=server.env), log)


def works_on(place: Place, server: str) -> Path:
    return place.repository if server == "git" else place.files


# --- The gateway, and agents in front of it -------------------------------------------------------------------------


@pytest.fixture(scope="session")
def gateway(place: Place) -> Generator[str]:
    """The base URL of a gateway over HTTP."""
    port = free_port()
    serve = command("gateway", "serve", "-c", str(SERVERS), "--port", str(port))
    with run_process(serve, ready=lambda: listens(port), env=place.environment("http")):
        yield f"http://127.0.0.1:{port}"


@dataclass(frozen=True, slots=True)
class Connected:
    """An agent that is connected to the gateway."""

    client: Client
    mode: Literal["auto", "legacy"]
    heard: list[ServerNotification] = field(default_factory=list[ServerNotification])
    """The notifications it got outside of any request."""


@pytest.fixture(scope="package", params=["http-auto", "http-legacy", "sse-legacy", "stdio-auto", "stdio-legacy"])
async def agent(request: pytest.FixtureRequest, place: Place) -> AsyncGenerator[Connected]:
    """The SDK's own client in front of the gateway: at each of its doors, in each of its modes."""
    door, mode = request.param.split("-")
    log = place.folder / f"{request.param}.log"
    heard: list[ServerNotification] = []

    async def hear(message: object) -> None:
        if isinstance(message, ServerNotification):
            heard.append(message)

    async with AsyncExitStack() as stack:
        if door == "stdio":
            errors = stack.enter_context(log.open("w"))
            transport: Any = stdio_client(stdio_front(place.environment(request.param)), errors)
        else:
            url = request.getfixturevalue("gateway")
            transport = sse_client(f"{url}/sse") if door == "sse" else f"{url}/mcp"
        client = await stack.enter_async_context(Client(transport, mode=mode, message_handler=hear))
        # Connecting waits for no server, and a list for all: until then a URI of several may be the wrong one's.
        await client.list_resources()
        yield Connected(client, mode, heard)
    if door == "stdio":
        entries = [json.loads(line) for line in log.read_text().splitlines()]
        complaints = [entry for entry in entries if entry["level"] not in ("debug", "info")]
        # Who came up first had the URIs of one program of three until the first in the file was there.
        assert [entry for entry in complaints if entry["event"] != "URIs taken over"] == []


def stdio_front(environment: Mapping[str, str]) -> StdioServerParameters:
    """How a desktop client would start the gateway."""
    return StdioServerParameters(
        command=sys.executable,
        args=["-m", "gateway", "stdio", "-c", str(SERVERS)],
        env=dict(environment),
        cwd=ROOT,
    )


# --- More servers, behind a gateway with a key ------------------------------------------------------------------------

KEY: Final = f"mcp-{'k' * 40}"
"""What agents show the gateway."""
BUDGET_KEY: Final = "what the gateway shows a server"


@dataclass(frozen=True, slots=True)
class More:
    """A gateway to `more_servers.yaml`, and what each of those says without it."""

    url: str
    direct: Mapping[str, Said]
    words: Mapping[str, str]

    @property
    def tools(self) -> list[str]:
        """The names of all tools, as an agent sees them."""
        return sorted(f"{server}__{name}" for server, said in self.direct.items() for name in said.names())


@pytest.fixture(scope="session")
def more(place: Place, packages: Packages) -> Generator[More]:
    own = place.environment("more")
    (keys := Path(own["OWN"], "keys.json")).write_text(
        json.dumps([{"key": KEY, "owner": "tests", "scopes": ["read", "write"], "rate_limit_rpm": -1}])
    )
    clock, budget, scenario, pages, gate = (free_port() for _ in range(5))
    ports = {"CLOCK_PORT": str(clock), "BUDGET_PORT": str(budget), "SCENARIO_PORT": str(scenario)}
    own |= {"KEYS": str(keys), "BUDGET_KEY": BUDGET_KEY, **ports}
    words = {"files": str(place.files), "page": f"http://127.0.0.1:{pages}/letter.txt"}
    modules = packages.node / "node_modules"

    def app(name: str) -> list[str]:
        return ["node", str(packages.modules / name / "dist/index.js")]

    servers = load(MORE_SERVERS, environ=own, dotenv=None).servers
    programs = {name: [server.command, *server.args] for name, server in servers.items() if server.command} | {
        "clock": [*app("server-basic-vanillajs"), "--stdio"],
        "budget": [*app("server-budget-allocator"), "--stdio"],
        "scenario": [*app("server-scenario-modeler"), "--stdio"],
    }
    with ExitStack() as stack:

        def listening(command: list[str], port: int, **env: str) -> None:
            stack.enter_context(run_process(command, ready=lambda: listens(port), env=env))

        proxy = [
            "node",
            str(modules / "mcp-proxy/dist/bin/mcp-proxy.mjs"),
            "--host",
            "127.0.0.1",
            "--port",
            str(budget),
        ]
        bridge = ["node", str(modules / "supergateway/dist/index.js"), "--port", str(scenario)]
        listening(command("http.server", str(pages), "--bind", "127.0.0.1", "--directory", str(place.files)), pages)
        listening(app("server-basic-vanillajs"), clock, PORT=str(clock))
        listening([*proxy, "--apiKey", BUDGET_KEY, "--", *programs["budget"]], budget)
        listening([*bridge, "--stdio", shlex.join(programs["scenario"])], scenario)
        listening(command("gateway", "serve", "-c", str(MORE_SERVERS), "--port", str(gate)), gate, **own)
        with ThreadPoolExecutor(2) as pool:
            key = {"X-API-Key": BUDGET_KEY}
            # This proxy writes anew what it passes on: it is the server here, and not the program behind it.
            asked = {"budget": pool.submit(ask_over_http, "budget", servers["budget"].url or "", words, **key)}
            for name in programs.keys() - asked:
                asked[name] = pool.submit(ask_directly, name, programs[name], servers[name].env, words)
        yield More(f"http://127.0.0.1:{gate}", {name: said.result() for name, said in asked.items()}, words)
