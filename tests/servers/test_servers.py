"""The fixtures do what the other tests rely on: everything over each transport in each era, and raw byte for byte."""

import http.client
import json
import os
import select
import subprocess
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import contextmanager
from functools import partial
from typing import Any, cast
from urllib.parse import urlsplit

import anyio
import mcp_types as types
import pytest
from mcp import Client, StdioServerParameters
from mcp.client import ClientRequestContext
from mcp.client.session import IncomingMessage
from mcp.client.sse import sse_client

from tests.servers import raw
from tests.servers.items import asking, content, gateway, reading
from tests.support import ROOT, command, http_server, run_process, wait_until

EVERYTHING = "tests.servers.everything"
TOOLS = {tool.name for tool in (*content.TOOLS, *asking.TOOLS, *gateway.TOOLS)}
MODES = {"legacy": "2025-11-25", "auto": "2026-07-28"}


class Agent:
    """A client that answers every question with the same words, and keeps what it hears."""

    def __init__(self, target: Any, mode: str) -> None:
        self.heard: list[Any] = []
        self.client = Client(
            target,
            mode=cast(Any, mode),
            log_level="info",
            cache=None,
            elicitation_callback=self._elicit,
            message_handler=self._hear,
            logging_callback=self._log,
        )

    async def _elicit(self, context: ClientRequestContext, params: types.ElicitRequestParams) -> types.ElicitResult:
        return types.ElicitResult(action="accept", content={"name": params.message})

    async def _hear(self, message: IncomingMessage) -> None:
        self.heard.append(message)

    async def _log(self, params: types.LoggingMessageNotificationParams) -> None:
        self.heard.append(params.data)

    async def call(self, tool: str, /, **arguments: Any) -> str:
        result = await self.client.call_tool(tool, arguments)
        assert isinstance(result.content[0], types.TextContent)
        return result.content[0].text

    async def counts(self) -> dict[str, int]:
        return json.loads(await self.call("cancelled_calls"))


@pytest.fixture(scope="module")
def http_url() -> Generator[str]:
    with http_server(EVERYTHING) as url:
        yield url


@pytest.fixture(scope="module")
def sse_url() -> Generator[str]:
    with http_server(EVERYTHING, transport="sse", path="/sse") as url:
        yield url


@pytest.fixture(scope="module", params=[(t, m) for t in ("stdio", "sse", "http") for m in MODES], ids="-".join)
async def agent(request: pytest.FixtureRequest, http_url: str, sse_url: str) -> AsyncGenerator[Agent]:
    transport, mode = request.param
    args = command(EVERYTHING)
    stdio = StdioServerParameters(command=args[0], args=args[1:], cwd=ROOT)
    target = {"stdio": stdio, "sse": sse_client(sse_url), "http": http_url}[transport]
    agent = Agent(target, mode)
    async with agent.client:
        assert agent.client.protocol_version == MODES[mode]
        yield agent


@pytest.mark.anyio
async def test_everything_offers_its_catalogue(agent: Agent) -> None:
    client = agent.client
    assert {tool.name for tool in (await client.list_tools()).tools} >= TOOLS
    assert len((await client.list_resources()).resources) == len(reading.RESOURCES)
    assert len((await client.list_resource_templates()).resource_templates) == len(reading.TEMPLATES)
    assert len((await client.list_prompts()).prompts) == len(reading.PROMPTS)
    read = await client.read_resource("test://template/7/data")
    assert json.loads(read.contents[0].model_dump()["text"])["id"] == "7"
    prompt = await client.get_prompt("test_prompt_with_arguments", {"arg1": "a", "arg2": "b"})
    assert "arg1='a'" in prompt.model_dump_json()
    completion = await client.complete(types.PromptReference(name="any"), {"name": "arg1", "value": "par"})
    assert completion.completion.values == ["paris", "park", "party"]


@pytest.mark.anyio
async def test_everything_echoes_arguments(agent: Agent) -> None:
    await agent.client.list_tools()
    arguments: dict[str, Any] = {"a": [1, 2.5, {"ü": "☃"}], "b": 2**70}
    assert (await agent.client.call_tool("echo", arguments)).structured_content == arguments


@pytest.mark.anyio
async def test_everything_reports_progress_and_logs(agent: Agent) -> None:
    steps: list[float] = []

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        steps.append(progress)

    await agent.client.call_tool("slow", {"seconds": 0.02, "steps": 3}, progress_callback=on_progress)
    await agent.call("log", level="debug" if agent.client.protocol_version > "2026" else "info", message="maybe")
    await agent.call("log", level="error", message="surely")
    await wait_until(lambda: steps == [1, 2, 3] and "surely" in agent.heard)
    assert ("maybe" in agent.heard) == (agent.client.protocol_version < "2026"), "only those asked for"


@pytest.mark.anyio
async def test_everything_asks_in_each_eras_way(agent: Agent) -> None:
    said = await agent.call("test_input_required_result_multi_round")
    assert "Step 1" in said
    assert "Step 2" in said


@pytest.mark.anyio
async def test_everything_announces_changes(agent: Agent) -> None:
    def kinds() -> set[str]:
        return {type(one).__name__.removesuffix("Notification") for one in agent.heard}

    async def changed() -> bool:
        # Again and again: over HTTP, what is said before the client's stream is open is lost.
        await agent.call("add_tool", name="added")
        await agent.call("remove_tool", name="added")
        await agent.call("touch_resource", uri=reading.WATCHED)
        return {"ToolListChanged", "ResourceUpdated"} <= kinds()

    if agent.client.protocol_version > "2026":
        async with agent.client.listen(tools_list_changed=True, resource_subscriptions=[reading.WATCHED]):
            await wait_until(changed)
    else:
        params = types.SubscribeRequestParams(uri=reading.WATCHED)
        await agent.client.session.send_request(types.SubscribeRequest(params=params), types.EmptyResult)
        await wait_until(changed)


@pytest.mark.anyio
async def test_everything_notices_cancellation(agent: Agent) -> None:
    before = (await agent.counts())["cancelled"]

    async def running() -> bool:
        return (await agent.counts())["running"] == 1

    async def cancelled() -> bool:
        return await agent.counts() == {"running": 0, "cancelled": before + 1}

    async with anyio.create_task_group() as calls:
        calls.start_soon(agent.client.call_tool, "slow", {"seconds": 60})
        await wait_until(running)
        calls.cancel_scope.cancel()
    await wait_until(cancelled)


# --- One era only ---------------------------------------------------------------------------------------------------

ENVELOPE: dict[str, Any] = {
    "_meta": {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    }
}
OPENING: dict[str, Any] = {
    "protocolVersion": "2025-11-25",
    "capabilities": {},
    "clientInfo": {"name": "test", "version": "1"},
}


@pytest.mark.parametrize("module", [EVERYTHING, "tests.servers.raw"])
def test_handshake_server_knows_no_discovery(module: str) -> None:
    with stdio_peer(module, "--era", "handshake") as ask:
        assert json.loads(ask(request("server/discover", ENVELOPE)))["error"]["code"] == -32601
        assert json.loads(ask(request("initialize", OPENING)))["result"]["protocolVersion"] == "2025-11-25"
    with http_server(module, "--era", "handshake") as url:
        status, body, _ = post(url, request("server/discover", ENVELOPE))
        assert (status, json.loads(body)["error"]["code"]) == (400, -32600)
        status, body, headers = post(url, request("initialize", OPENING))
        assert status == 200
        assert headers["mcp-session-id"]


@pytest.mark.parametrize("module", [EVERYTHING, "tests.servers.raw"])
def test_modern_server_knows_no_handshake(module: str) -> None:
    with stdio_peer(module, "--era", "modern") as ask:
        assert json.loads(ask(request("initialize", OPENING)))["error"]["data"]["supported"] == ["2026-07-28"]
        assert json.loads(ask(request("server/discover", ENVELOPE)))["result"]["supportedVersions"] == ["2026-07-28"]
    with http_server(module, "--era", "modern") as url:
        status, body, _ = post(url, request("initialize", OPENING))
        assert (status, json.loads(body)["error"]["code"]) == (400, -32022)
        assert post(url, request("server/discover", ENVELOPE))[0] == 200


# --- Raw ------------------------------------------------------------------------------------------------------------


def assert_odd(wire: bytes) -> None:
    """Every odd value is on the wire exactly as it is written down."""
    assert raw.encode(raw.RESULT["content"]) in wire
    assert raw.encode(raw.RESULT["structuredContent"]) in wire
    assert b"1180591620717411303424" in wire
    assert b'"nulls":[null,{"deep":null},[[null]]]' in wire
    assert b'"one":1.0,' in wire
    assert "☃ 𝄞".encode() in wire


@pytest.mark.parametrize("envelope", [{}, ENVELOPE], ids=["handshake", "modern"])
def test_raw_sends_every_byte(envelope: dict[str, Any]) -> None:
    call = request("tools/call", envelope | {"name": "raw"})
    with stdio_peer("tests.servers.raw") as ask:
        assert_odd(ask(call))
    for how in ((), ("--stream",)):
        with http_server("tests.servers.raw", *how) as url:
            session = "" if envelope else post(url, request("initialize", OPENING))[2]["mcp-session-id"]
            status, body, headers = post(url, call, **{"Mcp-Session-Id": session})
            assert status == 200
            assert headers["content-type"] == ("text/event-stream" if how else "application/json")
            assert_odd(body)
