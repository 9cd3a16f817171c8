"""The processes of the matrix, started once: fixture servers, gateways in front of them, and agents at the gateways."""

from collections.abc import AsyncGenerator, Generator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, AsyncExitStack, ExitStack
from subprocess import DEVNULL
from typing import Final

import anyio
import pytest
from mcp import StdioServerParameters

from tests.interaction._connect import CELLS, FRONTS, NEAR, UPSTREAMS, VERSIONS, Agent, Cell, agent_at, era_of
from tests.interaction._gateway import PATIENT, Entry, child, config_file, http_gateway, stdio_command
from tests.interaction._http import HttpChannel, open_session, post, sse
from tests.interaction._wire import Pipe, Wire, piped, request, shake_hands
from tests.support import ROOT, http_server
from tests.support import command as program

EVERYTHING: Final = "tests.servers.everything"
RAW: Final = "tests.servers.raw"
RAWS: Final = (
    *(f"raw-{kind}-{era}" for kind in ("stdio", "http", "stream") for era in VERSIONS),
    "raw-sse-handshake",
)
"""Upstreams for the plainest of agents. `stream` answers every request with server-sent events."""

PAGE_SIZE: Final = 10
"""Of the gateway in front of `RAWS`."""


@pytest.fixture(scope="package")
def remote() -> Generator[dict[str, Entry]]:
    """The upstreams that are there whoever connects: over HTTP and SSE, one of each era."""
    with ExitStack() as stack:
        yield _start(stack, {name: _everything(name) for name in UPSTREAMS if not name.startswith("stdio")})


@pytest.fixture(scope="package")
def http_base(remote: dict[str, Entry], tmp_path_factory: pytest.TempPathFactory) -> Generator[str]:
    """Base URL of a gateway in front of all `UPSTREAMS`, and of `raw`, which has what no other has."""
    names = (name for name in UPSTREAMS if name.startswith("stdio"))
    children = {name: child(EVERYTHING, "--era", era_of(name), "--name", name) for name in names}
    servers = {**remote, **children, "raw": child(RAW)}
    with http_gateway(tmp_path_factory.mktemp("http"), servers, **PATIENT) as gateway:
        assert post(f"{gateway.base}/mcp", request("tools/list"))[0] == 200
        yield gateway.base


@pytest.fixture(scope="package")
async def stdio_agents(
    remote: dict[str, Entry], tmp_path_factory: pytest.TempPathFactory
) -> AsyncGenerator[dict[str, Agent]]:
    """By era: an agent that started a gateway of its own, in front of the upstreams over HTTP; not for the first time,
    so that it is told at once what there is."""
    servers = {name: remote[name] for name in NEAR}
    async with AsyncExitStack() as stack:
        agents: dict[str, Agent] = {}
        for era in VERSIONS:
            config = config_file(tmp_path_factory.mktemp(f"stdio-{era}"), servers, **PATIENT)
            await anyio.run_process([*program("gateway", "tools"), "-c", str(config)], cwd=ROOT, stdout=DEVNULL)
            command, *args = stdio_command(config)
            agents[era] = Agent(StdioServerParameters(command=command, args=args, cwd=ROOT), era)
            await stack.enter_async_context(agents[era].connected())
        yield agents


def reach(request: pytest.FixtureRequest, front: str, upstream: str) -> Agent:
    """An agent at a front: one that is connected already (stdio), or one to enter. Starts what has to run for it; so it
    is not for async fixtures, which cannot start others."""
    if front.startswith("stdio"):
        agent: Agent = request.getfixturevalue("stdio_agents")[era_of(front)]
        agent.heard.clear()
        return agent
    return agent_at(request.getfixturevalue("http_base"), front, upstream)


@pytest.fixture(params=CELLS, ids="/".join)
def place(request: pytest.FixtureRequest) -> Cell:
    front, upstream = request.param
    return Cell(reach(request, front, upstream), front, upstream)


@pytest.fixture
async def cell(place: Cell) -> AsyncGenerator[Cell]:
    """One of the matrix."""
    async with place.agent.connected():
        yield place


# --- The plainest of agents ------------------------------------------------------------------------------------------


@pytest.fixture(scope="package")
def raws(remote: dict[str, Entry]) -> Generator[dict[str, Entry]]:
    """`RAWS`, and the `NEAR` ones of the others."""
    with ExitStack() as stack:
        children = {name: child(RAW, "--era", era_of(name)) for name in RAWS if "stdio" in name}
        started = _start(stack, {name: _raw(name) for name in RAWS if name not in children})
        yield children | started | {name: remote[name] for name in NEAR}


@pytest.fixture(scope="package")
def raw_base(raws: dict[str, Entry], tmp_path_factory: pytest.TempPathFactory) -> Generator[str]:
    """Base URL of a gateway in front of `raws`, with pages of `PAGE_SIZE`."""
    with http_gateway(tmp_path_factory.mktemp("raw"), raws, page_size=PAGE_SIZE, **PATIENT) as gateway:
        yield gateway.base


@pytest.fixture(scope="package")
def raw_pipe(raws: dict[str, Entry], tmp_path_factory: pytest.TempPathFactory) -> Generator[Pipe]:
    """The same, started by its one agent; hands are shaken."""
    config = config_file(tmp_path_factory.mktemp("pipe"), raws, page_size=PAGE_SIZE, **PATIENT)
    with piped(stdio_command(config)) as pipe:
        shake_hands(pipe)
        yield pipe


@pytest.fixture(params=FRONTS)
def wire(request: pytest.FixtureRequest) -> Generator[Wire]:
    """The plainest of agents at every front, with `raws` behind it."""
    transport, _, era = request.param.partition("-")
    modern = era == "modern"
    if transport == "stdio":
        yield Wire(request.getfixturevalue("raw_pipe"), modern)
        return
    base = request.getfixturevalue("raw_base")
    if transport == "http":
        yield Wire(HttpChannel(f"{base}/mcp", {} if modern else open_session(f"{base}/mcp")), modern)
        return
    with sse(base) as channel:
        shake_hands(channel)
        yield Wire(channel, modern)


# --- Fixture servers -------------------------------------------------------------------------------------------------


def _everything(name: str) -> AbstractContextManager[str]:
    transport = name.partition("-")[0]
    path = "/sse" if transport == "sse" else "/mcp"
    return http_server(EVERYTHING, "--era", era_of(name), "--name", name, transport=transport, path=path)


def _raw(name: str) -> AbstractContextManager[str]:
    if "sse" in name:
        return http_server("tests.interaction._raw_sse")
    return http_server(RAW, "--era", era_of(name), *(["--stream"] if "stream" in name else []))


def _start(stack: ExitStack, servers: Mapping[str, AbstractContextManager[str]]) -> dict[str, Entry]:
    """Start servers, side by side; returns how to configure them."""
    with ThreadPoolExecutor() as pool:
        urls = pool.map(stack.enter_context, servers.values())
        return {
            name: {"type": "sse" if "sse" in name else "http", "url": url}
            for name, url in zip(servers, urls, strict=True)
        }
