"""Where spans go: over OTLP to a collector, from a bounded queue, by a thread of their own. No call waits for it."""

import logging
import os
from collections.abc import Callable, Sequence
from typing import Final

import structlog
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from gateway import __version__
from gateway.blocking import within
from gateway.config.models import Config
from gateway.telemetry.families import Values
from gateway.telemetry.spans import Tracing

log = structlog.stdlib.get_logger("gateway.tracing")

LAST_SECONDS: Final = 3.0
"""How long the end of the gateway waits for spans to be taken."""
NAME: Final = "mcp-gateway"


class Exporting:
    """What traces calls (`tracing`), and where its spans go.

    Args:
        config: the one in force, whenever it is asked for.
    """

    def __init__(self, config: Callable[[], Config]) -> None:
        # It tells of every batch again what `_Counting` tells once.
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
        settings = config().gateway
        self._exporter = _Counting(OTLPSpanExporter())
        self._queue = _Bounded(self._exporter)
        self._provider = TracerProvider(resource=_resource(settings.environment), shutdown_on_exit=False)
        self._provider.add_span_processor(self._queue)
        self.tracing = Tracing(self._provider, settings.tracing.client_share, config)

    def counted(self) -> Values:
        """Spans by what became of them."""
        exporter = self._exporter
        return {("exported",): exporter.exported, ("failed",): exporter.failed, ("dropped",): self._queue.dropped}

    async def aclose(self) -> None:
        """Send what there is, for a little. No spans are made after this."""
        try:
            await within(LAST_SECONDS, self._provider.shutdown)
        except OSError:
            log.warning("the last spans were not taken in time")


def _resource(environment: str) -> Resource:
    """Who we are; what the variables say wins."""
    own = Resource({"service.name": NAME, "service.version": __version__, "deployment.environment.name": environment})
    told = Resource.create()
    if "OTEL_SERVICE_NAME" not in os.environ and "service.name" not in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", ""):
        told = Resource({name: value for name, value in told.attributes.items() if name != "service.name"})
    return own.merge(told)


class _Counting(SpanExporter):
    """Counts what is exported, and says when that stops to work and when it works again."""

    def __init__(self, inner: SpanExporter) -> None:
        self._inner = inner
        self.taken = self.exported = self.failed = 0
        self._works = True

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.taken += len(spans)
        try:
            result = self._inner.export(spans)
        except Exception as error:  # whatever it is, calls go on and so does the next batch
            log.debug("spans were not exported", error=type(error).__name__)
            result = SpanExportResult.FAILURE
        works = result is SpanExportResult.SUCCESS
        if works:
            self.exported += len(spans)
        else:
            self.failed += len(spans)
        if works is not self._works:
            self._works = works
            if works:
                log.info("spans are exported again")
            else:
                log.warning("spans cannot be exported; calls go on without")
        return result

    def shutdown(self) -> None:
        self._inner.shutdown()


class _Bounded(SpanProcessor):
    """The SDK's queue, which drops the oldest spans when it is full; counts those."""

    def __init__(self, exporter: _Counting) -> None:
        self._exporter = exporter
        self._inner = BatchSpanProcessor(exporter)
        self._cap = int(os.environ.get("OTEL_BSP_MAX_QUEUE_SIZE") or 2048)
        self._ended = self.dropped = 0

    def on_end(self, span: ReadableSpan) -> None:
        if self._ended - self._exporter.taken - self.dropped >= self._cap:
            self.dropped += 1
        self._ended += 1
        self._inner.on_end(span)

    def shutdown(self) -> None:
        self._inner.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._inner.force_flush(timeout_millis)
