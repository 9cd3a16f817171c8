"""Prometheus metrics: what is asked, what comes of it, how long it takes; upstreams' states; limits' decisions; and
what the process takes.

Labels have few values by construction: methods and outcomes are closed sets, upstreams are the configured ones. What
is counted of each request stands in `requests`.
"""

import asyncio
from collections.abc import Callable, Iterable
from typing import Final

import anyio.to_thread
from prometheus_client import CollectorRegistry, Counter, Gauge, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from gateway.telemetry.health import Health
from gateway.telemetry.nameless import Nameless
from gateway.telemetry.scrapes import Scrapes

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """All metrics of one gateway, in a registry of its own.

    Args:
        health: the upstreams' now; asked for when the metrics are read.
        requests: what is counted of requests.
    """

    def __init__(self, health: Callable[[], Iterable[Health]], requests: Collector) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(requests)
        self._reloads = Counter(
            "mcp_gateway_config_reloads", "Changes of the configuration's files.", ("outcome",), registry=self._registry
        )
        self._limits = Counter(
            "mcp_gateway_limit_decisions", "Decisions of rate limits.", ("limit", "decision"), registry=self._registry
        )
        self._limit_cells: dict[tuple[str, bool], Counter] = {}
        self._changes = Counter(
            "mcp_gateway_definition_changes",
            "Unapproved changes of pinned definitions, when first seen.",
            ("upstream", "change"),
            registry=self._registry,
        )
        self._suspicions = Counter(
            "mcp_gateway_suspicious_texts",
            "Definitions with text that people do not see, when first seen.",
            ("upstream",),
            registry=self._registry,
        )
        self._tasks = Gauge("mcp_gateway_tasks", "Tasks of the event loop.", registry=self._registry)
        self._registry.register(_Upstreams(health))
        ProcessCollector(registry=self._registry)
        self._scrapes = Scrapes(self._render)
        self._nameless = CollectorRegistry()
        self._nameless.register(Nameless(self._registry))

    def watch(self, name: str, what: str, count: Callable[[], int]) -> None:
        """Show a number that is known anyway, as it is when the metrics are read."""
        Gauge(f"mcp_gateway_{name}", what, registry=self._registry).set_function(count)

    def config_read(self, usable: bool) -> None:
        self._reloads.labels("applied" if usable else "refused").inc()

    def limit_decided(self, limit: str, allowed: bool) -> None:
        cell = self._limit_cells.get((limit, allowed))
        if cell is None:
            cell = self._limits.labels(limit, "allowed" if allowed else "refused")
            self._limit_cells[limit, allowed] = cell
        cell.inc()

    def definition_changed(self, upstream: str, what: str) -> None:
        self._changes.labels(upstream, what).inc()

    def suspicious_text(self, upstream: str) -> None:
        self._suspicions.labels(upstream).inc()

    async def render(self, *, names: bool = True) -> bytes:
        """The text form (`CONTENT_TYPE`), not older than the question; it may take a second to come.

        Args:
            names: whether upstreams are told apart; else all are summed up.
        """
        return await self._scrapes.get(names)

    async def _render(self, names: bool) -> bytes:
        self._tasks.set(len(asyncio.all_tasks()))
        return await anyio.to_thread.run_sync(generate_latest, self._registry if names else self._nameless)


class _Upstreams(Collector):
    """What is known of each upstream anyway. States are a gauge each: 1 for the state it is in."""

    def __init__(self, health: Callable[[], Iterable[Health]]) -> None:
        self._health = health

    def collect(self) -> Iterable[Metric]:
        state = GaugeMetricFamily(
            "mcp_gateway_upstream_state", "1 for the state an upstream is in.", labels=("upstream", "state")
        )
        breaker = GaugeMetricFamily(
            "mcp_gateway_breaker_state", "1 for the state an upstream's breaker is in.", labels=("upstream", "state")
        )
        openings = CounterMetricFamily(
            "mcp_gateway_breaker_openings", "How often an upstream's breaker has opened.", labels=("upstream",)
        )
        retries = CounterMetricFamily(
            "mcp_gateway_upstream_retries", "Requests sent to an upstream once more.", labels=("upstream",)
        )
        for each in self._health():
            state.add_metric((each.upstream, each.state), 1)
            breaker.add_metric((each.upstream, each.breaker), 1)
            openings.add_metric((each.upstream,), each.openings)
            retries.add_metric((each.upstream,), each.retries)
        yield from (state, breaker, openings, retries)
