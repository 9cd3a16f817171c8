"""The spans of calls: one for each request that comes in, and below it one for each attempt at an upstream.

Names and attributes follow OpenTelemetry's conventions for MCP and GenAI (semantic-conventions-genai, docs/gen-ai/mcp),
contexts travel as W3C headers and, under the same names, in `_meta` (SEP-414). A span says who was asked for what, how
long it took and how it ended; never with which arguments, under which URI, nor in an upstream's words.
"""

import asyncio
import random
from collections.abc import Callable, Mapping
from typing import Any, Final, cast
from urllib.parse import urlsplit

from opentelemetry.context import Context
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)

from gateway import __version__
from gateway.call import Call, Trace
from gateway.config.models import Config, ServerConfig
from gateway.errors import GatewayError
from gateway.jsonrpc import RequestId, as_object
from gateway.protocol import INPUT_REQUIRED
from gateway.request import QUESTIONS
from gateway.telemetry import trace_context
from gateway.telemetry.calls import METHODS
from gateway.telemetry.client_share import ClientShare

LONGEST_NAME: Final = 128
"""Characters of a tool's or prompt's name."""
LONGEST_ID: Final = 64

_TARGETS: Final = {"tools/call": "gen_ai.tool.name", "prompts/get": "gen_ai.prompt.name"}
"""Method → the attribute for what it names."""
_ROOT: Final = Context()

Attributes = dict[str, str | int | float | bool]


class Tracing:
    """
    Args:
        provider: makes the spans, and has sampler and exporter.
        share: of the requests that clients want sampled, how many are.
        config: the one in force, whenever it is asked for.
    """

    def __init__(self, provider: TracerProvider, share: float, config: Callable[[], Config]) -> None:
        provider.id_generator = self._ids = _Ids()
        self._tracer = provider.get_tracer("mcp-gateway", __version__)
        self._sampler = provider.sampler
        self._share = ClientShare(share)
        self._config = config
        self._peers: dict[str, tuple[ServerConfig, Attributes]] = {}

    def begin(self, call: Call) -> None:
        """A request has come in."""
        meta, headers = call.meta, call.http.headers if call.http is not None else {}
        parent, around = trace_context.remote(meta), trace_context.remote(headers)
        # What the request says of itself counts; the HTTP request around it may be about something else.
        links = [Link(around)] if parent is not None and around is not None and around != parent else None
        parent = parent or around
        method = call.method if call.method in METHODS else "other"
        context, trace_id = _ROOT, self._ids.trace_id()
        if parent is not None:
            context, trace_id = (
                set_span_in_context(NonRecordingSpan(self._granted(parent, call)), _ROOT),
                parent.trace_id,
            )
        given = {"tracestate": parent.trace_state.to_header() if parent is not None else "", "baggage": ""}
        given["baggage"] = trace_context.baggage(meta, headers)
        if self._sampler.should_sample(context, trace_id, method, SpanKind.SERVER).decision.is_sampled():
            span = self._tracer.start_span(method, context, SpanKind.SERVER, self._attributes(call, method), links)
            call.trace = CallTrace(self, span, method, given)
        else:
            call.trace = UnsampledTrace(self, trace_id, given)
        call.trace_id = call.trace.trace_id

    def _attributes(self, call: Call, method: str) -> Attributes:
        attributes: Attributes = {
            "mcp.method.name": method,
            "mcp.protocol.version": call.agent.version,
            "jsonrpc.request.id": str(call.id)[:LONGEST_ID],
            "network.transport": "tcp" if call.http is not None else "pipe",
            "mcp_gateway.request.id": call.request_id,
            "mcp_gateway.principal": call.principal.id,
        }
        if call.agent.lasting:
            attributes["mcp.session.id"] = call.agent.digest
        return attributes

    def attempt(self, trace: "CallTrace", upstream: str, target: object, version: str) -> Span:
        """A span of an attempt at an upstream."""
        attributes = {**self._peer(upstream), "mcp.method.name": trace.method, "mcp.protocol.version": version}
        name = _describe(attributes, trace.method, target)
        return self._tracer.start_span(name, trace.context, SpanKind.CLIENT, attributes)

    def inject(
        self,
        upstream: str,
        traceparent: str,
        given: Mapping[str, str],
        params: dict[str, Any],
        headers: Mapping[str, str],
    ) -> tuple[dict[str, Any], Mapping[str, str]]:
        """Parameters and headers with the context.

        Args:
            given: what the client sent besides, of which an upstream gets what it is configured to.
        """
        fields, server = {"traceparent": traceparent}, self._config().servers.get(upstream)
        if server is not None and server.propagate:
            fields |= {name: value for name in server.propagate if (value := given[name])}
        meta: object = params.get("_meta", {})
        if isinstance(meta, dict):
            sent = cast("dict[str, Any]", meta)
            rest = {name: value for name, value in sent.items() if name not in trace_context.FIELDS}
            params = {**params, "_meta": {**rest, **fields}}
        return params, {**headers, **fields}

    def _granted(self, parent: SpanContext, call: Call) -> SpanContext:
        """The client's context. That it is sampled counts for a share of each tenant's; else we decide ourselves."""
        if not parent.trace_flags.sampled or self._share.grants(call.principal.root_id):
            return parent
        own = self._sampler.should_sample(_ROOT, parent.trace_id, call.method, SpanKind.SERVER)
        if own.decision.is_sampled():
            return parent
        return SpanContext(parent.trace_id, parent.span_id, True, TraceFlags(0), parent.trace_state)

    def _peer(self, upstream: str) -> Attributes:
        """What is said of an upstream in each span."""
        server = self._config().servers.get(upstream)
        known = self._peers.get(upstream)
        if server is None or (known is not None and known[0] is server):
            return known[1] if known is not None else {"mcp_gateway.upstream": upstream}
        peer = _peer(upstream, server)
        self._peers[upstream] = server, peer
        return peer


class CallTrace:
    """The spans of one request. Two requests share those of an attempt where the second goes on with what waits there:
    see `apart`."""

    __slots__ = ("_attempt", "_given", "_is_apart", "_tracing", "context", "is_sampled", "method", "span", "trace_id")
    is_sampled: bool

    def __init__(
        self, tracing: Tracing, span: Span, method: str, given: Mapping[str, str], *, apart: bool = False
    ) -> None:
        own = span.get_span_context()
        self._tracing = tracing
        self._given = given
        self._attempt: Span | None = None
        self._is_apart = apart
        self.span = span
        self.method = method
        self.context = set_span_in_context(span, _ROOT)
        self.trace_id = f"{own.trace_id:032x}"
        self.is_sampled = True

    def apart(self) -> "CallTrace":
        """For what is done on the request's behalf, and may go on when it has been answered."""
        return CallTrace(self._tracing, self.span, self.method, self._given, apart=True)

    # --- An attempt ---------------------------------------------------------------------------------------------------

    def send(
        self, upstream: str, version: str, params: dict[str, Any], headers: Mapping[str, str]
    ) -> tuple[dict[str, Any], Mapping[str, str]]:
        """An attempt begins; returns its parameters and headers, with the context."""
        self._give_up()
        target = params.get("name") if self.method in _TARGETS else None
        self._attempt = self._tracing.attempt(self, upstream, target, version)
        traceparent = trace_context.header(self._attempt.get_span_context())
        return self._tracing.inject(upstream, traceparent, self._given, params, headers)

    def answered(self, id: RequestId, answer: "asyncio.Future[dict[str, Any]]") -> None:
        """It is over. There may be no answer yet, if nobody waits for it any more."""
        span, self._attempt = self._attempt, None
        if span is None:
            return
        if span.is_recording():
            span.set_attribute("jsonrpc.request.id", str(id))
            if not answer.done() or answer.cancelled():
                _fail(span, "cancelled")
            elif (error := answer.exception()) is not None:
                _fail(span, *_kind(error))
            else:
                _on_result(span, answer.result())
        span.end()

    def _give_up(self) -> None:
        """What was begun and never sent."""
        if self._attempt is not None:
            _fail(self._attempt, "not_sent")
            self._attempt.end()
            self._attempt = None

    # --- The request --------------------------------------------------------------------------------------------------

    def event(self, name: str, attributes: Mapping[str, str | int | float] | None = None) -> None:
        """Something happened: to the attempt that is under way, else to the request."""
        span = self._attempt or (None if self._is_apart else self.span)
        if span is not None:
            span.add_event(name, attributes)

    def question(self, method: str) -> None:
        """The upstream asks something."""
        self.event("question", {"mcp.method.name": method if method in QUESTIONS else "other"})

    def resume(self, parked: "Trace | None") -> None:
        """The request goes on with what another began."""
        if isinstance(parked, CallTrace):
            self.span.add_link(parked.span.get_span_context())
        self.event("resumed")

    def end(self, call: Call) -> None:
        """The request has been answered, one way or another."""
        self._give_up()
        span = self.span
        if span.is_recording():
            attributes: Attributes = {"mcp_gateway.outcome": call.outcome}
            if call.agent.view is not None:
                attributes["mcp_gateway.view"] = call.agent.view
            if call.upstream is not None:
                attributes["mcp_gateway.upstream"] = call.upstream
                # Only now is it known to be the name of something, and no text of a client's.
                span.update_name(_describe(attributes, self.method, call.params.get("name")))
            span.set_attributes(attributes)
            if call.outcome != "ok":
                _fail(span, call.outcome, call.code)
        span.end()


class UnsampledTrace:
    """A request of which there are no spans. Upstreams are given its context all the same."""

    __slots__ = ("_given", "_trace_id", "_tracing", "is_sampled", "trace_id")

    def __init__(self, tracing: Tracing, trace_id: int, given: Mapping[str, str]) -> None:
        self._tracing = tracing
        self._given = given
        self.trace_id = f"{trace_id:032x}"
        self.is_sampled = False

    def send(
        self, upstream: str, version: str, params: dict[str, Any], headers: Mapping[str, str]
    ) -> tuple[dict[str, Any], Mapping[str, str]]:
        traceparent = f"00-{self.trace_id}-{random.getrandbits(64) or 1:016x}-00"
        return self._tracing.inject(upstream, traceparent, self._given, params, headers)

    def apart(self) -> "UnsampledTrace":
        return self

    def event(self, name: str, attributes: Mapping[str, str | int | float] | None = None) -> None: ...
    def question(self, method: str) -> None: ...
    def answered(self, id: RequestId, answer: "asyncio.Future[dict[str, Any]]") -> None: ...
    def resume(self, parked: "Trace | None") -> None: ...
    def end(self, call: Call) -> None: ...


class _Ids(RandomIdGenerator):
    """Whether a trace is sampled goes by its id, which therefore is chosen before there is a span."""

    _next = 0

    def trace_id(self) -> int:
        """The next one, if a trace begins now."""
        self._next = super().generate_trace_id()
        return self._next

    def generate_trace_id(self) -> int:
        return self._next or super().generate_trace_id()


def _describe(attributes: Attributes, method: str, target: object) -> str:
    """The name of a span; adds what is said of its target."""
    attribute = _TARGETS.get(method)
    if attribute is None or not isinstance(target, str):
        return method
    if method == "tools/call":
        attributes["gen_ai.operation.name"] = "execute_tool"
    attributes[attribute] = target = target[:LONGEST_NAME]
    return f"{method} {target}"


def _peer(upstream: str, server: ServerConfig) -> Attributes:
    peer: Attributes = {"mcp_gateway.upstream": upstream}
    if server.url is None:
        return {**peer, "network.transport": "pipe"}
    parts = urlsplit(server.url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    where: Attributes = {"server.address": parts.hostname or "", "server.port": port}
    return {**peer, "network.transport": "tcp", "network.protocol.name": "http", **where}


def _on_result(span: Span, result: Mapping[str, Any]) -> None:
    if result.get("isError") is True:
        _fail(span, "tool_error")
    elif result.get("resultType") == INPUT_REQUIRED:
        span.add_event("input required", {"mcp_gateway.questions": len(as_object(result.get("inputRequests")))})


def _kind(error: BaseException) -> tuple[str, int | None]:
    return (error.outcome, error.code) if isinstance(error, GatewayError) else (type(error).__name__, None)


def _fail(span: Span, outcome: str, code: int | None = None) -> None:
    """How it ended. Not in the words of the error, which may be a client's or an upstream's."""
    span.set_attribute("error.type", outcome if code is None else str(code))
    if code is not None:
        span.set_attribute("rpc.response.status_code", str(code))
    span.set_status(StatusCode.ERROR, outcome)
