"""A collector: takes spans over OTLP/HTTP, as any would, and decodes them."""

import gzip
import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span as SpanMessage

KINDS = {SpanMessage.SPAN_KIND_SERVER: "server", SpanMessage.SPAN_KIND_CLIENT: "client"}


@dataclass(frozen=True)
class Span:
    """One that was received."""

    service: str
    name: str
    kind: str
    trace: str
    id: str
    parent: str
    attributes: dict[str, Any]
    events: list[tuple[str, dict[str, Any]]]
    links: list[tuple[str, str]]
    is_error: bool
    status: str


@dataclass
class Collector:
    endpoint: str
    spans: list[Span] = field(default_factory=list[Span])
    received: bytearray = field(default_factory=bytearray)
    """Everything, as it came."""
    headers: list[dict[str, str]] = field(default_factory=list[dict[str, str]])
    status: int = 200
    """What it answers."""

    def of(self, service: str = "mcp-gateway", kind: str = "", method: str = "tools/call") -> list[Span]:
        """Those of a service, in the order in which they ended."""
        return [
            span
            for span in list(self.spans)
            if span.service == service and kind in ("", span.kind) and span.attributes.get("mcp.method.name") == method
        ]

    def variables(self, **more: str) -> dict[str, str]:
        """What tells a program to export here, and soon."""
        return {"OTEL_EXPORTER_OTLP_ENDPOINT": self.endpoint, "OTEL_BSP_SCHEDULE_DELAY": "50", **more}


@contextmanager
def collector() -> Generator[Collector]:
    """Run one until the block ends."""
    it = Collector("")

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            answer = ExportTraceServiceResponse().SerializeToString() if it.status == 200 else b""
            if it.status == 200:
                assert self.path == "/v1/traces"
                it.headers.append({name.lower(): value for name, value in self.headers.items()})
                it.received += body
                it.spans += _decoded(body)
            self.send_response(it.status)
            self.send_header("content-type", "application/x-protobuf")
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    it.endpoint = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield it
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _decoded(body: bytes) -> list[Span]:
    request = ExportTraceServiceRequest()
    request.ParseFromString(body)
    found: list[Span] = []
    for group in request.resource_spans:
        service = str(_attributes(group.resource.attributes).get("service.name"))
        found += [_span(service, span) for scope in group.scope_spans for span in scope.spans]
    return found


def _span(service: str, span: SpanMessage) -> Span:
    return Span(
        service,
        span.name,
        KINDS.get(span.kind, "other"),
        span.trace_id.hex(),
        span.span_id.hex(),
        span.parent_span_id.hex(),
        _attributes(span.attributes),
        [(event.name, _attributes(event.attributes)) for event in span.events],
        [(link.trace_id.hex(), link.span_id.hex()) for link in span.links],
        span.status.code == 2,
        span.status.message,
    )


def _attributes(pairs: Any) -> dict[str, Any]:
    def value(pair: KeyValue) -> Any:
        kind = pair.value.WhichOneof("value")
        return getattr(pair.value, kind) if kind is not None else None

    return {pair.key: value(pair) for pair in pairs}
