"""What happens to a call stands as events in its spans, and attempts are spans of their own."""

from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import anyio
import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ParentBasedTraceIdRatio
from opentelemetry.trace import SpanKind

from gateway.app import Gateway
from gateway.config.models import Config, ServerConfig
from gateway.errors import GatewayError, RequestCancelled
from gateway.telemetry.spans import Tracing
from tests.bridge.house import Somebody, form, gateway_of, questions
from tests.bridge.requests import HANDSHAKE, call
from tests.interaction._gateway import Entry, child
from tests.support import http_server, wait_until

pytestmark = pytest.mark.anyio

EVERYTHING: Final = "tests.servers.everything"
SAMPLED: Final = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"


@pytest.fixture(scope="module")
def bad() -> Generator[str]:
    with http_server("tests.servers.bad", "--on", "resources/read=cut_body") as url:
        yield url


class Spans:
    """Those that have ended."""

    def __init__(self) -> None:
        self._memory = InMemorySpanExporter()

    def provider(self, **more: Any) -> TracerProvider:
        provider = TracerProvider(shutdown_on_exit=False, **more)
        provider.add_span_processor(SimpleSpanProcessor(self._memory))
        return provider

    def of(self, kind: SpanKind) -> list[ReadableSpan]:
        return [span for span in self._memory.get_finished_spans() if span.kind is kind]

    @property
    def server(self) -> list[ReadableSpan]:
        return self.of(SpanKind.SERVER)

    @property
    def client(self) -> list[ReadableSpan]:
        return self.of(SpanKind.CLIENT)


def events(span: ReadableSpan) -> list[str]:
    return [event.name for event in span.events]


def own_id(span: ReadableSpan) -> int:
    assert span.context is not None
    return span.context.span_id


@asynccontextmanager
async def traced(
    folder: Path, servers: dict[str, Entry], *, share: float = 1.0, **sampling: Any
) -> AsyncGenerator[tuple[Gateway, Spans]]:
    """A gateway whose spans are kept here."""
    spans = Spans()
    provider = spans.provider(**sampling)
    async with gateway_of(folder, servers) as gateway:
        gateway.pipeline.tracing = Tracing(provider, share, lambda: gateway.current.config)
        yield gateway, spans


async def test_each_attempt_is_a_span_and_each_retry_an_event(tmp_path: Path, bad: str) -> None:
    async with traced(tmp_path, {"bad": {"url": bad}}) as (gateway, spans):
        with pytest.raises(GatewayError):
            await Somebody(gateway, view="bad").send("resources/read", uri="file:///CANARY")
    (server,) = spans.server
    assert len(spans.client) > 1
    assert events(server) == ["retry"] * (len(spans.client) - 1)
    assert {span.parent.span_id for span in spans.client if span.parent} == {own_id(server)}
    assert [span.attributes["error.type"] for span in spans.client if span.attributes] == ["-32012"] * len(spans.client)
    assert "CANARY" not in "".join(span.to_json() for span in (*spans.server, *spans.client))


async def test_an_open_breaker_is_an_event_and_no_attempt(tmp_path: Path, bad: str) -> None:
    entry = {"url": bad, "timeout": "200ms", "breaker": {"failures": 1}}
    async with traced(tmp_path, {"bad": entry}) as (gateway, spans):
        for _ in range(2):
            with pytest.raises(GatewayError):
                await Somebody(gateway).call("bad__silent")
    assert [events(span) for span in spans.server] == [[], ["breaker open"]]
    assert [dict(span.attributes or {})["mcp_gateway.outcome"] for span in spans.server] == ["timeout", "circuit_open"]
    assert len(spans.client) == 1


async def test_waiting_for_a_place_is_an_event(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    entry = child("tests.servers.gate", max_concurrency=1)
    async with traced(tmp_path, {"gate": entry}) as (gateway, spans), anyio.create_task_group() as tg:
        for _ in range(2):
            tg.start_soon(Somebody(gateway, capabilities={}).call, "gate__hold", {"gate": str(gate)})
        await wait_until(lambda: gateway.upstreams["gate"].health().queued == 1)
        gate.touch()
    first, second = (span.events for span in spans.server)
    assert [event.name for event in first] == []
    assert [event.name for event in second] == ["queued"]
    assert dict(second[0].attributes or {})["mcp_gateway.seconds"]


async def test_a_question_is_an_event_of_the_attempt(tmp_path: Path) -> None:
    async with traced(tmp_path, {"up": child(EVERYTHING, "--era", "handshake")}) as (gateway, spans):
        ann = Somebody(gateway, HANDSHAKE, answers={"elicitation/create": form("x")}).open()
        await ann.call("up__ask", {"word": "w", "kinds": ["form"], "together": False})
        await ann.close()
    (client,) = spans.client
    assert events(client) == ["question"]
    assert client.events[0].attributes == {"mcp.method.name": "elicitation/create"}


async def test_a_parked_call_is_one_attempt_over_two_requests(tmp_path: Path) -> None:
    async with traced(tmp_path, {"up": child(EVERYTHING, "--era", "handshake")}) as (gateway, spans):
        ann, arguments = Somebody(gateway), {"word": "w", "kinds": ["form"], "together": False}
        asked = await ann.call("up__ask", arguments)
        given = dict.fromkeys(questions(asked), form("x"))
        assert not spans.client, "it still waits"
        text, _ = await gateway.metrics.render()
        assert b"mcp_gateway_parked_calls 1.0" in text
        await ann.call("up__ask", arguments, requestState=asked["requestState"], inputResponses=given)
        await wait_until(lambda: len(spans.client) == 1)
    first, second = spans.server
    (client,) = spans.client
    assert (events(first), events(second), events(client)) == (["parked"], ["resumed"], ["question"])
    assert client.parent is not None
    assert client.parent.span_id == own_id(first)
    assert [link.context.span_id for link in second.links] == [own_id(first)]


async def test_questions_by_result_are_an_event(tmp_path: Path) -> None:
    async with traced(tmp_path, {"up": child(EVERYTHING, "--era", "modern")}) as (gateway, spans):
        asked = await Somebody(gateway).call("up__ask", {"word": "w", "kinds": ["form"], "together": False})
        assert questions(asked)
    (client,) = spans.client
    assert events(client) == ["input required"]


async def test_a_call_that_is_cancelled_ends_its_spans(tmp_path: Path) -> None:
    async with traced(tmp_path, {"gate": child("tests.servers.gate")}) as (gateway, spans):
        async with anyio.create_task_group() as tg:

            async def call() -> None:
                with pytest.raises(RequestCancelled):
                    await Somebody(gateway, capabilities={}).call("gate__hold", {"gate": str(tmp_path / "gate")})

            tg.start_soon(call)
            await wait_until(lambda: len(list(tmp_path.glob("gate.began.*"))) == 1)
            (at_work,) = gateway.upstreams["gate"].calls
            at_work.cancel()
        kinds = [dict(span.attributes or {})["error.type"] for span in (*spans.client, *spans.server)]
    assert len(kinds) == 2
    assert kinds[0] == "cancelled"


async def test_clients_can_have_no_more_than_their_share_sampled(tmp_path: Path) -> None:
    """Where the sampler takes nothing by itself."""
    sampling = {"sampler": ParentBasedTraceIdRatio(0.0)}
    async with traced(tmp_path, {"raw": child("tests.servers.raw")}, share=0.25, **sampling) as (gateway, spans):
        for principal in ("ann", "bob"):
            for _ in range(20):
                await Somebody(gateway, principal=principal).call("raw__echo", _meta={"traceparent": SAMPLED})
            await Somebody(gateway, principal=principal).call("raw__echo")
        who = [dict(span.attributes or {})["mcp_gateway.principal"] for span in spans.server]
    assert who == ["ann"] * 5 + ["bob"] * 5
    assert len(spans.client) == len(spans.server)


CONFIG: Final = Config(
    servers={"up": ServerConfig(command="x"), "all": ServerConfig(command="x", propagate=["baggage"])},
    path=Path("servers.yaml"),
)


def test_upstreams_are_given_a_context_whether_or_not_it_is_sampled() -> None:
    spans = Spans()
    tracing = Tracing(spans.provider(sampler=ParentBasedTraceIdRatio(0.5)), 1.0, lambda: CONFIG)
    flags: list[str] = []
    for _ in range(200):
        request = call(_meta={"progressToken": 1, "traceparent": "nonsense", "baggage": "a=1"})
        tracing.begin(request)
        assert request.trace is not None
        params, headers = request.trace.send("up", "2026-07-28", request.params, {})
        assert params["_meta"] == {"progressToken": 1, **headers}
        assert request.trace.send("all", "2026-07-28", request.params, {})[1]["baggage"] == "a=1"
        _, trace, span, sampled = headers["traceparent"].split("-")
        assert (trace, len(span)) == (request.trace_id, 16)
        assert request.trace.is_sampled is (sampled == "01")
        flags.append(sampled)
        request.trace.end(request)
    assert 50 < flags.count("01") < 150, "the half, give or take what never happens"
    assert len(spans.server) == flags.count("01")


def test_upstreams_get_the_fields_they_are_to_have_and_no_others() -> None:
    tracing = Tracing(Spans().provider(), 1.0, lambda: CONFIG)
    request = call(_meta={"traceparent": SAMPLED, "tracestate": "vendor=1", "baggage": "a=1"})
    tracing.begin(request)
    assert request.trace is not None
    for upstream, names in (("up", {"traceparent"}), ("all", {"traceparent", "baggage"}), ("gone", {"traceparent"})):
        params, headers = request.trace.send(upstream, "2026-07-28", request.params, {"x": "y"})
        assert headers.keys() == names | {"x"}
        assert params["_meta"].keys() == names
    request.trace.end(request)


def test_who_is_not_sampled_by_whoever_calls_is_not() -> None:
    spans = Spans()
    tracing = Tracing(spans.provider(), 1.0, lambda: CONFIG)
    request = call(_meta={"traceparent": SAMPLED[:-1] + "0"})
    tracing.begin(request)
    assert request.trace is not None
    _, headers = request.trace.send("up", "2026-07-28", request.params, {})
    request.trace.event("whatever")
    request.trace.end(request)
    assert headers["traceparent"].startswith(SAMPLED[:36])
    assert headers["traceparent"].endswith("-00")
    assert headers["traceparent"] != SAMPLED[:-1] + "0", "with a span of its own"
    assert not spans.server
