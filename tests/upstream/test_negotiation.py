"""Which revision is spoken: the probe, its fallbacks, and the transport found out on the way."""

import sys
from collections.abc import Callable, Generator
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from gateway.errors import GatewayError, UpstreamError, UpstreamLost, UpstreamProtocolError
from gateway.protocol import Era
from gateway.upstream.transport.pending import HttpRefusal
from gateway.upstream.transport.process import Program
from tests.servers.wire import encode
from tests.support import http_server
from tests.upstream.ends import Got, Mcp, Up, byte_server, connected, fixture, response, service, spawned

pytestmark = pytest.mark.anyio

VERSIONS = {"both": "2026-07-28", "handshake": "2025-11-25", "modern": "2026-07-28"}

Connect = Callable[[str, str], AbstractAsyncContextManager[Up]]


@pytest.fixture(scope="module")
def urls() -> Generator[dict[tuple[str, str], str]]:
    """Server and era → its URL."""
    started: dict[tuple[str, str], Any] = {}
    urls: dict[tuple[str, str], str] = {}
    for module in ("raw", "everything"):
        for era in VERSIONS:
            server = started[module, era] = http_server(f"tests.servers.{module}", "--era", era)
            urls[module, era] = server.__enter__()
    yield urls
    for server in started.values():
        server.__exit__(None, None, None)


@pytest.fixture(params=["stdio", "http"])
def connect(request: pytest.FixtureRequest, urls: dict[tuple[str, str], str]) -> Connect:
    if request.param == "stdio":
        return lambda module, era: spawned(fixture(module, "--era", era))
    return lambda module, era: connected(urls[module, era])


@pytest.mark.parametrize("era", VERSIONS)
@pytest.mark.parametrize("module", ["raw", "everything"])
async def test_the_newest_revision_both_know(connect: Connect, module: str, era: str) -> None:
    async with connect(module, era) as up:
        assert up.agreed.version == VERSIONS[era]
        assert up.agreed.era is Era.of(VERSIONS[era])
        assert up.agreed.server_info["name"] == module
        assert "tools" in up.agreed.capabilities
        tools = await up.session.request("tools/list", {}, {})
        assert ("resultType" in tools) == (up.agreed.era is Era.MODERN)


# --- A server of few words -----------------------------------------------------------------------------------------

CODE = """
import json, sys
for line in sys.stdin:
    m = json.loads(line)
    if "id" in m:
        answer = answers.get(m["method"], {"error": {"code": -32601, "message": "Method not found"}})
        if answer is None: sys.exit(1)
        print(json.dumps({"jsonrpc": "2.0", "id": m["id"], **answer}), flush=True)
"""


def answering(**answers: Any) -> Program:
    """A server that answers a method, `_` for `/`, in one way. None: it leaves without an answer."""
    table = {method.replace("_", "/"): answer for method, answer in answers.items()}
    return Program(sys.executable, ["-c", f"answers = {table!r}{CODE}"])


def initialized(version: Any = "2025-06-18", **rest: Any) -> dict[str, Any]:
    info = {"name": "x", "version": "1"}
    return {"result": {"protocolVersion": version, "capabilities": {}, "serverInfo": info, **rest}}


def discovered(*versions: str, **rest: Any) -> dict[str, Any]:
    supported: dict[str, Any] = {"supportedVersions": list(versions), "capabilities": {}, "resultType": "complete"}
    return {"result": {**supported, "ttlMs": 0, "cacheScope": "public", **rest}}


def error(code: int, data: Any = None) -> dict[str, Any]:
    return {"error": {"code": code, "message": "no", "data": data}}


AGREED = {
    "an older one": (answering(initialize=initialized("2024-11-05")), "2024-11-05"),
    "unknown method": (answering(initialize=initialized()), "2025-06-18"),
    "invalid params": (answering(server_discover=error(-32602), initialize=initialized()), "2025-06-18"),
    "not initialized": (answering(server_discover=error(0), initialize=initialized()), "2025-06-18"),
    "unsupported, handshake known": (
        answering(server_discover=error(-32022, {"supported": ["2025-06-18"]}), initialize=initialized()),
        "2025-06-18",
    ),
    "unsupported, nothing said": (answering(server_discover=error(-32022), initialize=initialized()), "2025-06-18"),
    "unsupported, nonsense": (
        answering(server_discover=error(-32022, {"supported": 5}), initialize=initialized()),
        "2025-06-18",
    ),
    "an odd answer": (answering(server_discover={"result": {"x": 1}}, initialize=initialized()), "2025-06-18"),
    "a later era too": (answering(server_discover=discovered("2030-01-01"), initialize=initialized()), "2025-06-18"),
    "modern": (answering(server_discover=discovered("2026-07-28", "2030-01-01")), "2026-07-28"),
    "a negative ttl": (answering(server_discover=discovered("2026-07-28", ttlMs=-1)), "2026-07-28"),
    "no arrays but for PHP": (answering(initialize=initialized(capabilities=[])), "2025-06-18"),
    "modern PHP": (answering(server_discover=discovered("2026-07-28", capabilities=[])), "2026-07-28"),
    "extras": (answering(initialize=initialized(x={"y": None}, instructions="do")), "2025-06-18"),
}


REFUSALS: dict[str, tuple[dict[str, Any] | bytes, str, list[str]]] = {
    "data.supported": ({"code": -32602, "data": {"supported": ["2024-11-05", "2020-01-01"]}}, "2024-11-05", []),
    "in words": ({"code": -32000, "message": "unsupported protocol version: {}"}, "2025-03-26", ["2025-06-18"]),
    "words that name some": ({"code": -32600, "message": "{}? I know 2025-03-26, 2024-11-05"}, "2025-03-26", []),
    "a code": ({"code": -32602, "message": "no"}, "2025-03-26", ["2025-06-18"]),
    "plain text": (b"Unsupported protocol version (supported: 2025-03-26)", "2025-03-26", []),
}
"""How an upstream that knows only an older revision refuses a newer one → that revision, and what is tried before."""


@pytest.mark.parametrize("kind", REFUSALS)
async def test_a_refused_revision_is_answered_with_one_that_both_speak(kind: str) -> None:
    refusal, knows, between = REFUSALS[kind]
    offered: list[str] = []

    async def initialize(got: Got) -> None:
        version = got.json()["params"]["protocolVersion"]
        offered.append(version)
        if version <= knows:
            await mcp.answer(got)
        elif isinstance(refusal, bytes):
            await got.send(response(refusal, "400 Bad Request", type="text/plain"))
        else:
            error = {**refusal, "message": refusal.get("message", "").replace("{}", version)}
            await got.send(response(encode({"jsonrpc": "2.0", "id": got.json()["id"], "error": error})))

    mcp = Mcp(service("handshake"), on={"initialize": initialize})
    async with byte_server(mcp) as server, connected(server.url):
        assert offered == ["2025-11-25", *between, knows]


OTHER_REFUSALS = {
    "nothing both know": {"code": -32602, "message": "no", "data": {"supported": ["2020-01-01"]}},
    "another reason": {"code": -32000, "message": "the database is away"},
}


@pytest.mark.parametrize("kind", OTHER_REFUSALS)
async def test_other_refusals_are_final(kind: str) -> None:
    async def initialize(got: Got) -> None:
        await got.send(response(encode({"jsonrpc": "2.0", "id": got.json()["id"], "error": OTHER_REFUSALS[kind]})))

    mcp = Mcp(service("handshake"), on={"initialize": initialize})
    async with byte_server(mcp) as server:
        with pytest.raises(UpstreamError, match=str(OTHER_REFUSALS[kind]["message"])):
            async with connected(server.url):
                pass
        assert [m["method"] for m in mcp.heard].count("initialize") == 1


@pytest.mark.parametrize("kind", AGREED)
async def test_agreement(kind: str) -> None:
    program, version = AGREED[kind]
    async with spawned(program) as up:
        assert up.agreed.version == version
        assert up.agreed.instructions == ("do" if kind == "extras" else None)


async def test_what_a_server_says_of_itself_is_repaired_where_it_is_clear_what_it_means() -> None:
    info = {"name": "x", "version": 1, "title": None}
    offered: dict[str, Any] = {
        "tools": [],
        "prompts": None,
        "resources": False,
        "logging": True,
        "experimental": {"x": [], "y": None},
    }
    async with spawned(answering(initialize=initialized(serverInfo=info, capabilities=offered, instructions=7))) as up:
        assert up.agreed.server_info == {"name": "x", "version": "1"}
        assert up.agreed.capabilities == {"tools": {}, "logging": {}, "experimental": {"x": {}}}
        assert up.agreed.instructions is None
    stamp = {"io.modelcontextprotocol/serverInfo": {"name": "x", "version": 2.5}}
    async with spawned(answering(server_discover=discovered("2026-07-28", _meta=stamp))) as up:
        assert up.agreed.server_info == {"name": "x", "version": "2.5"}


DISJOINT: dict[str, tuple[Program, type[GatewayError], str]] = {
    "only later": (
        answering(server_discover=error(-32022, {"supported": ["2030-01-01"]}), initialize=error(-32601)),
        UpstreamError,
        "no",
    ),
    "only what it refuses": (
        answering(server_discover=error(-32022, {"supported": ["2026-07-28"]}), initialize=error(-32601)),
        UpstreamError,
        "no",
    ),
    "only earlier": (answering(initialize=initialized("2023-01-01")), UpstreamProtocolError, "'2023-01-01'"),
    "no version": (answering(initialize=initialized(None)), UpstreamProtocolError, "protocol version None"),
    "a list": (answering(initialize=initialized(["2025-06-18"])), UpstreamProtocolError, "protocol version"),
    "no fields": (
        answering(initialize={"result": {"protocolVersion": "2025-06-18"}}),
        UpstreamProtocolError,
        "without its fields",
    ),
    "capabilities of a kind": (
        answering(initialize=initialized(capabilities=["tools"])),
        UpstreamProtocolError,
        "without its fields",
    ),
    "refused": (answering(initialize=error(-32603)), UpstreamError, "no"),
    "gone": (answering(initialize=None), UpstreamLost, "status 1"),
}


@pytest.mark.parametrize("kind", DISJOINT)
async def test_no_agreement(kind: str) -> None:
    program, failure, words = DISJOINT[kind]
    with pytest.raises(failure, match=words):
        async with spawned(program):
            pass


async def test_a_server_that_leaves_when_probed_is_met_without_the_probe() -> None:
    program = answering(server_discover=None, initialize=initialized())
    with pytest.raises(UpstreamLost) as caught:
        async with spawned(program):
            pass
    assert caught.value.delivered
    async with spawned(program, probe=False) as up:
        assert up.agreed.version == "2025-06-18"


async def test_a_server_that_became_modern_between_probe_and_initialize() -> None:
    started: list[Got] = []

    async def not_yet(got: Got) -> None:
        started.append(got)
        await (mcp.answer(got) if len(started) > 1 else got.send(response(status="503 Starting")))

    mcp = Mcp(service("modern"), on={"server/discover": not_yet})
    async with byte_server(mcp) as server, connected(server.url) as up:
        assert up.agreed.version == "2026-07-28"
        assert [m["method"] for m in mcp.heard] == ["server/discover", "initialize", "server/discover"]


async def test_a_server_that_names_the_very_revision_it_refused_is_probed_once_more() -> None:
    refusal = {"error": {"code": -32022, "message": "no", "data": {"supported": ["2026-07-28"]}}}

    async def refuse(got: Got) -> None:
        del mcp.on["server/discover"]
        await got.send(response(encode({"jsonrpc": "2.0", "id": got.json()["id"], **refusal}), "400 Bad Request"))

    mcp = Mcp(service("modern"), on={"server/discover": refuse})
    async with byte_server(mcp) as server, connected(server.url) as up:
        assert up.agreed.version == "2026-07-28"
        assert [m["method"] for m in mcp.heard] == ["server/discover", "server/discover"]


@pytest.mark.parametrize("status", ["400 Bad Request", "404 Not Found", "405 Method Not Allowed", "500 Oops"])
async def test_over_http_any_refusal_of_the_probe_leads_to_initialize(status: str) -> None:
    async def refuse(got: Got) -> None:
        await got.send(response(b"<html>", status, type="text/html"))

    mcp = Mcp(service("handshake"), on={"server/discover": refuse})
    async with byte_server(mcp) as server, connected(server.url) as up:
        assert up.agreed.version == "2025-11-25"
        assert up.dispatcher.session_id == "session-1"


async def test_over_http_a_refusal_of_both_is_told() -> None:
    async def refuse(got: Got) -> None:
        await got.send(response(encode({"detail": "no"}), "401 Unauthorized"))

    async with byte_server(refuse) as server:
        with pytest.raises(HttpRefusal, match="credentials"):
            async with connected(server.url):
                pass
