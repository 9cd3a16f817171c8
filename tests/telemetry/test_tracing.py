"""A call is one trace, from the agent through the gateway to an upstream that traces too. Spans arrive over OTLP."""

import re
import secrets
import signal
from collections.abc import Generator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx2
import pytest
from prometheus_client.openmetrics.exposition import CONTENT_TYPE_LATEST as OPENMETRICS

from tests.interaction._gateway import Gateway, child, config_file, http_gateway, stdio_command
from tests.interaction._http import HttpChannel, open_session, post, sse
from tests.interaction._wire import Message, Wire, piped, request, shake_hands, until_answer
from tests.support import http_server, wait_until
from tests.telemetry.collector import Collector, Span, collector

pytestmark = pytest.mark.anyio

SECONDS: Final = 30.0
CANARY: Final = "CANARY-argument"


@dataclass(frozen=True)
class House:
    gateway: Gateway
    collector: Collector
    access_log: Path

    def wire(self, *, modern: bool = True) -> Wire:
        url = f"{self.gateway.base}/mcp"
        return Wire(HttpChannel(url, {} if modern else open_session(url)), modern=modern)

    async def trace(self, trace: str, spans: int) -> list[Span]:
        """All of a trace, once there are so many."""
        return await arrived(self.collector, trace, spans)


async def arrived(collector: Collector, trace: str, spans: int) -> list[Span]:
    def own() -> list[Span]:
        return [span for span in list(collector.spans) if span.trace == trace]

    await wait_until(lambda: len(own()) >= spans, SECONDS)
    return own()


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Generator[House]:
    with ExitStack() as stack:
        it, folder = stack.enter_context(collector()), tmp_path_factory.mktemp("traced")
        access, variables = folder / "access.log", it.variables(OTEL_SERVICE_NAME="upstream")
        http = stack.enter_context(http_server("tests.servers.traced", env=variables))
        sse = stack.enter_context(http_server("tests.servers.traced", transport="sse", path="/sse", env=variables))
        servers: dict[str, Message] = {
            "stdio": child("tests.servers.traced", env=variables),
            "old_stdio": child("tests.servers.traced", env=variables, era="handshake"),
            "http": {"url": http},
            "old_http": {"url": http, "era": "handshake"},
            "sse": {"url": sse, "type": "sse"},
            "generous": {"url": http, "propagate": ["tracestate", "baggage"]},
        }
        gateway = stack.enter_context(
            http_gateway(folder, servers, it.variables(), startup_wait=60, access_log={"file": str(access)})
        )
        yield House(gateway, it, access)


@dataclass(frozen=True)
class Agent:
    """A span of an agent's, as far as others see it."""

    trace: str
    span: str
    flags: str = "01"

    @property
    def parent(self) -> str:
        return f"00-{self.trace}-{self.span}-{self.flags}"


def agent(flags: str = "01") -> Agent:
    return Agent(secrets.token_hex(16), secrets.token_hex(8), flags)


def meta_call(tool: str, fields: dict[str, Any], **arguments: Any) -> Message:
    return {"name": tool, "arguments": arguments, "_meta": fields}


@pytest.mark.parametrize("modern", [True, False], ids=["modern", "handshake"])
@pytest.mark.parametrize("upstream", ["stdio", "old_stdio", "http", "old_http", "sse"])
async def test_a_call_is_one_trace_from_the_agent_to_the_upstream(house: House, upstream: str, modern: bool) -> None:
    who = agent()
    params = meta_call(f"{upstream}__meta", {"traceparent": who.parent}, secret=CANARY)
    answer = house.wire(modern=modern).ask("tools/call", params, id="an-id").result["structuredContent"]
    spans = {(span.service, span.kind): span for span in await house.trace(who.trace, 3) if span.name.endswith("meta")}
    server, client = spans["mcp-gateway", "server"], spans["mcp-gateway", "client"]
    theirs = spans["upstream", "server"]
    assert (server.parent, client.parent, theirs.parent) == (who.span, server.id, client.id)
    assert (server.name, client.name) == (f"tools/call {upstream}__meta", "tools/call meta")
    assert answer["meta"] == {"traceparent": f"00-{who.trace}-{client.id}-01"}
    assert answer["headers"] == ({} if "stdio" in upstream else answer["meta"]), "in both"
    common = {"mcp.method.name": "tools/call", "gen_ai.operation.name": "execute_tool"}
    assert (
        server.attributes.items()
        >= {
            **common,
            "gen_ai.tool.name": f"{upstream}__meta",
            "jsonrpc.request.id": "an-id",
            "mcp.protocol.version": "2026-07-28" if modern else "2025-11-25",
            "network.transport": "tcp",
            "mcp_gateway.outcome": "ok",
            "mcp_gateway.upstream": upstream,
            "mcp_gateway.principal": "anonymous",
        }.items()
    )
    assert client.attributes.items() >= {**common, "gen_ai.tool.name": "meta", "mcp_gateway.upstream": upstream}.items()
    assert client.attributes["network.transport"] == ("pipe" if "stdio" in upstream else "tcp")
    assert client.attributes.get("server.address") == (None if "stdio" in upstream else "127.0.0.1")
    assert ("mcp.session.id" in server.attributes) is not modern
    assert [span.is_error for span in (server, client)] == [False, False]
    assert CANARY.encode() not in bytes(house.collector.received)


async def test_the_context_may_come_in_headers(house: House) -> None:
    who = agent()
    message = request("tools/call", meta_call("http__meta", {}), modern=True)
    _, answer = post(f"{house.gateway.base}/mcp", message, {"traceparent": who.parent})
    assert who.trace in answer["result"]["structuredContent"]["meta"]["traceparent"]
    spans = await house.trace(who.trace, 3)
    assert next(span for span in spans if span.kind == "server").parent


async def test_what_the_request_says_itself_counts_and_the_header_is_linked(house: House) -> None:
    who, around = agent(), agent()
    message = request("tools/call", meta_call("http__meta", {"traceparent": who.parent}), modern=True)
    post(f"{house.gateway.base}/mcp", message, {"traceparent": around.parent})
    spans = await house.trace(who.trace, 3)
    (server,) = [span for span in spans if span.service == "mcp-gateway" and span.kind == "server"]
    assert (server.parent, server.links) == (who.span, [(around.trace, around.span)])


async def test_without_a_context_a_trace_begins_here(house: House) -> None:
    answer = house.wire().ask("tools/call", meta_call("http__meta", {"traceparent": "00-zero-01"}))
    parent = answer.result["structuredContent"]["meta"]["traceparent"]
    _, trace, span, flags = parent.split("-")
    spans = await house.trace(trace, 3)
    assert (flags, len(spans) >= 3) == ("01", True)
    assert next(each for each in spans if each.id == span).kind == "client"
    assert [each.parent for each in spans if each.service == "mcp-gateway" and each.kind == "server"] == [""]


@pytest.mark.parametrize("where", ["meta", "headers"])
async def test_further_fields_are_for_upstreams_that_are_to_have_them(house: House, where: str) -> None:
    fields = {"traceparent": agent().parent, "tracestate": "vendor=1", "baggage": "user=ann"}
    for upstream, expected in (("http", {"traceparent"}), ("stdio", {"traceparent"}), ("generous", set(fields))):
        given = fields if where == "meta" else {}
        message = request("tools/call", meta_call(f"{upstream}__meta", {**given}), modern=True)
        _, answer = post(f"{house.gateway.base}/mcp", message, fields if where == "headers" else {})
        came = answer["result"]["structuredContent"]
        assert came["meta"].keys() == expected
        assert came["headers"].keys() == (set[str]() if upstream == "stdio" else expected)
        if upstream == "generous":
            assert came["meta"].items() >= {"tracestate": "vendor=1", "baggage": "user=ann"}.items()
            assert came["headers"] == came["meta"]


async def test_how_a_call_fails_is_said_without_anybodys_words(house: House) -> None:
    failed, unknown = agent(), agent()
    wire = house.wire()
    assert wire.ask("tools/call", meta_call("http__fail", {"traceparent": failed.parent})).result["isError"]
    assert wire.ask("tools/call", meta_call("CANARY-name", {"traceparent": unknown.parent})).error
    spans = [span for span in await house.trace(failed.trace, 3) if span.service == "mcp-gateway"]
    assert [(span.is_error, span.status, span.attributes["error.type"]) for span in spans] == [
        (True, "tool_error", "tool_error")
    ] * 2
    (span,) = await house.trace(unknown.trace, 1)
    assert (span.name, span.is_error, span.attributes["error.type"]) == ("tools/call", True, "-32602")
    assert span.attributes["rpc.response.status_code"] == "-32602"
    ours = [span for span in house.collector.spans if span.service == "mcp-gateway"]
    assert "CANARY" not in repr(ours)


async def test_the_access_log_and_exemplars_name_the_trace(house: House) -> None:
    who = agent()
    house.wire().ask("tools/call", meta_call("http__meta", {"traceparent": who.parent}))
    text = httpx2.get(f"{house.gateway.base}/metrics", headers={"Accept": OPENMETRICS}).text
    lines = [line for line in text.splitlines() if who.trace in line]
    assert re.fullmatch(
        r"mcp_gateway_request_duration_seconds_bucket"
        r'\{le="[^"]+",method="tools/call",upstream="http"\} [0-9.]+ # \{trace_id="'
        + who.trace
        + r'"\} [0-9.e-]+ [0-9.]+',
        lines[0],
    )
    assert len(lines) == 1
    plain = httpx2.get(f"{house.gateway.base}/metrics").text
    assert who.trace not in plain
    await wait_until(lambda: f'"trace_id":"{who.trace}"' in house.access_log.read_text(), SECONDS)


async def test_nothing_changes_where_calls_are_not_traced(tmp_path: Path) -> None:
    fields = {"traceparent": "whatever", "tracestate": "vendor=1", "baggage": "user=ann"}
    with collector() as it, http_server("tests.servers.traced", env=it.variables()) as url:
        variables = it.variables(OTEL_SDK_DISABLED="true")
        with http_gateway(tmp_path, {"up": {"url": url}}, variables, startup_wait=60) as gateway:
            message = request("tools/call", meta_call("up__meta", fields), modern=True)
            _, answer = post(f"{gateway.base}/mcp", message, {"traceparent": agent().parent})
            assert answer["result"]["structuredContent"] == {"meta": fields, "headers": {}}
            assert "mcp_gateway_spans" not in httpx2.get(f"{gateway.base}/metrics").text
            loaded = _loaded(gateway.process.pid)
        assert not it.of("mcp-gateway")
    assert "google/_upb" not in loaded, "the exporter's protobuf"


def _loaded(pid: int) -> str:
    """The libraries of a process."""
    return Path(f"/proc/{pid}/maps").read_text()


async def test_a_collector_that_is_down_costs_no_call_and_no_memory(tmp_path: Path) -> None:
    with collector() as it:
        it.status = 503
        variables = it.variables(OTEL_BSP_MAX_QUEUE_SIZE="8", OTEL_BSP_MAX_EXPORT_BATCH_SIZE="4")
        servers = {"raw": child("tests.servers.raw")}
        with http_gateway(tmp_path, servers, variables, startup_wait=60) as gateway:
            wire = Wire(HttpChannel(f"{gateway.base}/mcp"), modern=True)
            for _ in range(40):
                assert wire.call("raw__echo").result

            def dropped() -> bool:
                text = httpx2.get(f"{gateway.base}/metrics").text
                found = re.search(r'mcp_gateway_spans_total\{outcome="dropped"\} ([0-9.]+)', text)
                return found is not None and float(found[1]) >= 60

            await wait_until(dropped, SECONDS)
            gateway.process.send_signal(signal.SIGTERM)
            assert gateway.process.wait(SECONDS) == 0


async def test_the_last_spans_go_out_when_it_ends(tmp_path: Path) -> None:
    with collector() as it:
        variables = it.variables(OTEL_BSP_SCHEDULE_DELAY="3600000", OTEL_EXPORTER_OTLP_HEADERS="x-key=k,x-other=o")
        servers = {"raw": child("tests.servers.raw")}
        with http_gateway(tmp_path, servers, variables, startup_wait=60) as gateway:
            assert Wire(HttpChannel(f"{gateway.base}/mcp"), modern=True).call("raw__echo").result
            assert not it.spans
            gateway.process.send_signal(signal.SIGTERM)
            assert gateway.process.wait(SECONDS) == 0
        assert {span.kind for span in it.of("mcp-gateway")} == {"server", "client"}
        assert it.headers[0].items() >= {"x-key": "k", "x-other": "o"}.items()


async def test_the_legacy_front_traces_too(house: House) -> None:
    who = agent()
    with sse(house.gateway.base) as channel:
        shake_hands(channel)
        message = request("tools/call", meta_call("http__meta", {}), id="by-header")
        assert post(channel.endpoint, message, {"traceparent": who.parent}) == (202, None)
        assert next(one for one in until_answer(channel.receive, "by-header") if "result" in one)
    spans = {(span.service, span.kind): span for span in await house.trace(who.trace, 3)}
    server = spans["mcp-gateway", "server"]
    assert (server.parent, server.attributes["network.transport"]) == (who.span, "tcp")


@pytest.mark.parametrize("modern", [True, False], ids=["modern", "handshake"])
async def test_the_stdio_front_traces_too(tmp_path: Path, modern: bool) -> None:
    with collector() as it:
        file, who = config_file(tmp_path, {"raw": child("tests.servers.raw")}, startup_wait=60), agent()
        with piped(stdio_command(file), it.variables(OTEL_SERVICE_NAME="mine")) as pipe:
            if not modern:
                shake_hands(pipe)
            wire = Wire(pipe, modern=modern)
            assert wire.ask("tools/call", meta_call("raw__echo", {"traceparent": who.parent})).result
            spans = {span.kind: span for span in await arrived(it, who.trace, 2)}
    assert (spans["server"].parent, spans["client"].parent) == (who.span, spans["server"].id)
    assert (spans["server"].service, spans["server"].attributes["network.transport"]) == ("mine", "pipe")
