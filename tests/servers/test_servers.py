"""The fixtures do what the other tests rely on: everything over each transport in each era, and raw byte for byte."""

import json
import re
from collections.abc import AsyncGenerator, Generator
from typing import Any, cast

import anyio
import mcp_types as types
import pytest
from mcp import Client, StdioServerParameters
from mcp.client import ClientRequestContext
from mcp.client.session import IncomingMessage
from mcp.client.sse import sse_client

from tests.servers import raw
from tests.servers.items import asking, content, gateway, reading
from tests.servers.peers import ENVELOPE, OPENING, calling, open_session, post, posted, request, stdio_server
from tests.support import ROOT, command, http_server, wait_until

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


def test_everything_keeps_events_for_those_who_come_back(http_url: str) -> None:
    sessions: list[dict[str, str]] = []
    for _ in range(2):
        with posted(http_url, request("initialize", OPENING)) as response:
            sessions.append({"Mcp-Session-Id": response.headers["Mcp-Session-Id"]})
            assert b"id: 1\r\n" in response.read(), "each session counts from one"
    session = sessions[0] | {"MCP-Protocol-Version": "2025-11-25"}
    post(http_url, {"jsonrpc": "2.0", "method": "notifications/initialized", "params": {}}, **session)
    status, body = post(http_url, request("tools/call", {"name": "test_reconnection"}), **session)
    assert (status, b"result" in body) == (200, False), "the stream ends before the reply"
    back = {"Last-Event-ID": body.split(b"id: ")[1].split()[0].decode()}
    with posted(http_url, None, **session, **back) as response:
        assert any(b"Reconnection test completed" in line for line in response)


# --- One era only ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("module", [EVERYTHING, "tests.servers.raw"])
def test_handshake_server_knows_no_discovery(module: str) -> None:
    with stdio_server(module, "--era", "handshake") as pipe:
        assert pipe.ask(request("server/discover", ENVELOPE))["error"]["code"] == -32601
        assert pipe.ask(request("initialize", OPENING))["result"]["protocolVersion"] == "2025-11-25"
    with http_server(module, "--era", "handshake") as url:
        status, body = post(url, request("server/discover", ENVELOPE))
        assert (status, json.loads(body)["error"]["code"]) == (400, -32600)
        assert open_session(url)


@pytest.mark.parametrize("module", [EVERYTHING, "tests.servers.raw"])
def test_modern_server_knows_no_handshake(module: str) -> None:
    with stdio_server(module, "--era", "modern") as pipe:
        assert pipe.ask(request("initialize", OPENING))["error"]["data"]["supported"] == ["2026-07-28"]
        assert pipe.ask(request("server/discover", ENVELOPE))["result"]["supportedVersions"] == ["2026-07-28"]
    with http_server(module, "--era", "modern") as url:
        status, body = post(url, request("initialize", OPENING))
        assert (status, json.loads(body)["error"]["code"]) == (400, -32022)
        assert post(url, request("server/discover", ENVELOPE))[0] == 200


# --- Raw -----------------------------------------------------------------------------------------------------------


def assert_odd(wire: bytes) -> None:
    """Every odd value is on the wire exactly as it is written down, but for line ends."""
    wire = re.sub(rb"\r?\n(data: )?", b"", wire)
    assert raw.encode(raw.RESULT["content"]) in wire
    assert raw.encode(raw.RESULT["structuredContent"]) in wire
    assert b"1180591620717411303424" in wire
    assert b'"nulls":[null,{"deep":null},[[null]]]' in wire
    assert b'"one":1.0,' in wire
    assert "☃ 𝄞".encode() in wire


@pytest.mark.parametrize("era", ["handshake", "modern"])
def test_raw_sends_every_byte(era: str) -> None:
    call = calling("raw") if era == "modern" else request("tools/call", {"name": "raw"})
    with stdio_server("tests.servers.raw") as pipe:
        pipe.send(call)
        assert_odd(pipe.receive())
    for how, kind in (((), "application/json"), (("--stream",), "text/event-stream")):
        with http_server("tests.servers.raw", *how) as url:
            session = {"Mcp-Session-Id": open_session(url)} if era == "handshake" else {}
            with posted(url, call, **session) as response:
                assert (response.status, response.headers["Content-Type"]) == (200, kind)
                assert_odd(response.read())
