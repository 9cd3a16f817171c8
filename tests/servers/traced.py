"""A FastMCP server that traces what it does, and exports that as the `OTEL_*` variables say.

    python -m tests.servers.traced [--transport stdio|http|sse --port PORT]

`meta` answers the trace fields that came with the call: in `_meta`, and as HTTP headers.
"""

import argparse
from typing import Any

from fastmcp import Context, FastMCP
from fastmcp.server.dependencies import get_http_headers
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

FIELDS = ("traceparent", "tracestate", "baggage")


def build() -> "FastMCP[Any]":
    server: FastMCP[Any] = FastMCP("traced")

    @server.tool
    def meta(context: Context, secret: str = "") -> dict[str, Any]:
        """What of a trace context came."""
        request = context.request_context
        given: Any = request.meta if request is not None else None
        came: dict[str, Any] = _dumped(given)
        headers = get_http_headers(include_all=True)
        return {
            "meta": {name: came[name] for name in FIELDS if came.get(name)},
            "headers": {name: headers[name] for name in FIELDS if name in headers},
        }

    @server.tool
    def fail() -> str:
        """Never works."""
        raise ValueError("CANARY-of-an-error")

    return server


def _dumped(meta: Any) -> dict[str, Any]:
    if meta is None:
        return {}
    return meta.model_dump(by_alias=True) if hasattr(meta, "model_dump") else dict(meta)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--transport", choices=("stdio", "http", "sse"), default="stdio")
    parser.add_argument("--port", type=int, default=0)
    args = parser.parse_args()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    where: dict[str, Any] = {} if args.transport == "stdio" else {"host": "127.0.0.1", "port": args.port}
    build().run(transport=args.transport, show_banner=False, **where)


if __name__ == "__main__":
    main()
