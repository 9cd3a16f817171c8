"""What is counted and logged of every call that reaches the pipeline, in one function: one clock, one look at it.

Metrics are cells of our own, which the registry reads when it is scraped. Access log lines are kept for a moment and
written together; of arguments and results they say nothing.
"""

import time
from bisect import bisect_left
from collections.abc import Callable, Iterable
from typing import Any, Final

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from gateway.call import Call
from gateway.harmless import Clipped

BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
"""Seconds."""

METHODS: Final = frozenset(
    {
        *("initialize", "ping", "server/discover", "tools/list", "tools/call", "prompts/list", "prompts/get"),
        *("resources/list", "resources/templates/list", "resources/read", "resources/subscribe"),
        *("resources/unsubscribe", "completion/complete", "logging/setLevel", "subscriptions/listen"),
    }
)
LASTING: Final = "subscriptions/listen"
"""It lasts as long as its client wants, which says nothing."""


class RequestLog(Collector):
    """
    Args:
        write: takes one line of the access log: seconds since 1970, and its fields.
    """

    def __init__(self, write: Callable[[float, dict[str, Any]], None]) -> None:
        self._write = write
        self._counts: dict[tuple[str, str, str], int] = {}
        """(method, upstream, outcome) → how many."""
        self._cells: dict[tuple[str, str], list[float]] = {}
        """(method, upstream) → how many by bucket, the last one for what is beyond all; and the sum of seconds."""

    def record(self, call: Call) -> None:
        """The call is over."""
        seconds = time.perf_counter() - call.began
        method = call.method if call.method in METHODS else "other"
        upstream = call.upstream or ""
        key = method, upstream, call.outcome
        self._counts[key] = self._counts.get(key, 0) + 1
        if method != LASTING:
            cell = self._cells.get(key[:2])
            if cell is None:
                cell = self._cells[key[:2]] = [0.0] * (len(BUCKETS) + 2)
            cell[bisect_left(BUCKETS, seconds)] += 1
            cell[-1] += seconds
        params, agent, http = call.params, call.agent, call.http
        target, client = params.get("name") or params.get("uri"), agent.info.get("name")
        self._write(
            time.time(),
            fields := {
                "request_id": call.request_id,
                "trace_id": call.trace_id,
                "method": _short(call.method, 100),
                "target": _short(target, 200),
                "upstream": call.upstream,
                "outcome": call.outcome,
                "code": call.code,
                "ms": round(seconds * 1000, 2),
                "queue_ms": round(call.queue_seconds * 1000, 2),
                "upstream_ms": round(call.upstream_seconds * 1000, 2),
                "bytes_in": http.received if http is not None else None,
                "bytes_out": None,
                "principal": call.principal.id,
                "session": agent.digest if agent.lasting else None,
                "era": agent.era.value,
                "view": agent.view,
                "client": _short(client, 100),
            },
        )
        if http is not None:
            http.logged = fields

    def collect(self) -> Iterable[Metric]:
        """See `prometheus_client`; may be called from another thread."""
        counts = CounterMetricFamily(
            "mcp_gateway_requests", "MCP requests answered.", labels=("method", "upstream", "outcome")
        )
        for key, count in list(self._counts.items()):
            counts.add_metric(key, count)
        seconds = HistogramMetricFamily(
            "mcp_gateway_request_seconds", "Time from a request to its answer.", labels=("method", "upstream")
        )
        for key, cell in list(self._cells.items()):
            total, buckets = 0.0, list[tuple[str, float]]()
            for bound, many in zip((*BUCKETS, float("inf")), cell, strict=False):
                total += many
                buckets.append((str(float(bound)) if bound < float("inf") else "+Inf", total))
            seconds.add_metric(key, buckets, cell[-1])
        yield from (counts, seconds)


def _short(text: object, limit: int) -> str | None:
    """A client's text; it may be long, and anything."""
    if not isinstance(text, str):
        return None
    return text if len(text) <= limit else Clipped(text, limit)
