"""Prometheus metrics: all families (`families`) in one registry, read when somebody asks for them.

What is counted of each call stands in `calls`, of each upstream in its tally. What others know anyway, they are
asked for: on the event loop, because it is theirs, and everything is written down beside it, because that takes long.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Final, cast

import anyio.to_thread
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector, CollectorRegistry

from gateway import __version__
from gateway.telemetry import families
from gateway.telemetry.cells import Histogram, Tally
from gateway.telemetry.families import Family, Labels, Values
from gateway.telemetry.health import Health
from gateway.telemetry.merging import Merged, export
from gateway.telemetry.nameless import Nameless
from gateway.telemetry.scrapes import Form, Scrapes

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS: Final = openmetrics.CONTENT_TYPE_LATEST

Read = Callable[[], "float | Values | Callable[[], Values]"]
"""Called on the event loop; what it returns may be a function that takes longer, and is called beside it."""

Gather = Callable[[bytes], Awaitable[tuple[Sequence[bytes], Sequence[bytes]]]]
"""Brings together what all processes of this gateway have counted: from this one's export (`merging`) to those of all
that run, it among them, and the last ones of those that are gone."""


class Metrics(Collector):
    """All metrics of one gateway, in a registry of its own.

    Args:
        health: the upstreams' now; asked for when the metrics are read.
        requests: what is counted of requests.
        environment: name of the deployment.
    """

    def __init__(
        self, health: Callable[[], Iterable[Health]], requests: Collector, environment: str = "development"
    ) -> None:
        self._health = health
        self._tallies: dict[str, Tally] = {}
        self._reloads = Counter[Labels]()
        self._limits = Counter[Labels]()
        self._allowed: dict[str, Callable[[], int]] = {}
        self._changes = Counter[Labels]()
        self._suspicions = Counter[Labels]()
        self._watched: dict[Family, Read] = {
            families.TASKS: lambda: len(asyncio.all_tasks()),
            families.BUILD: lambda: {(__version__, environment): 1},
            families.RELOADS: lambda: dict(self._reloads),
            families.LIMIT_DECISIONS: self._decisions,
            families.DEFINITION_CHANGES: lambda: dict(self._changes),
            families.SUSPICIOUS_TEXTS: lambda: dict(self._suspicions),
        }
        self._histograms: dict[Family, Histogram] = {}
        self._seen: list[Health] = []
        self._read: dict[Family, float | Values | Callable[[], Values]] = {}
        """What was found when the metrics were last asked for."""
        self._registry = CollectorRegistry()
        self._registry.register(requests)
        self._registry.register(self)
        ProcessCollector(registry=self._registry)
        self._scrapes = Scrapes(self._render)
        self.gather: Gather | None = None
        """Where there are other processes, for which this one answers too."""
        self._nameless = CollectorRegistry()
        self._nameless.register(Nameless(self._registry))

    def watch(self, family: Family, read: Read) -> None:
        """Show what is known anyway, as it is when the metrics are read."""
        self._watched[family] = read

    def histogram(self, family: Family, histogram: Histogram) -> None:
        """Show what somebody observes."""
        self._histograms[family] = histogram

    def tally(self, upstream: str) -> Tally:
        """Where that upstream is counted, whoever serves under its name."""
        return self._tallies.setdefault(upstream, Tally())

    def config_read(self, usable: bool) -> None:
        self._reloads["applied" if usable else "refused",] += 1

    def limit_decided(self, limit: str, allowed: bool) -> None:
        self._limits[limit, "allowed" if allowed else "refused"] += 1

    def limit_allows(self, limit: str, read: Callable[[], int]) -> None:
        """What that limit allows is counted there as well: it is read when it is asked for."""
        self._allowed[limit] = read

    def _decisions(self) -> dict[Labels, float]:
        counted = Counter({(limit, "allowed"): read() for limit, read in self._allowed.items()})
        return dict(self._limits + counted)

    def definition_changed(self, upstream: str, what: str) -> None:
        self._changes[upstream, what] += 1

    def suspicious_text(self, upstream: str) -> None:
        self._suspicions[upstream,] += 1

    async def render(self, *, names: bool = True, accept: str = "") -> tuple[bytes, str]:
        """The text and its content type, not older than the question; it may take a second to come.

        Args:
            names: whether upstreams are told apart; else all are summed up.
            accept: an `Accept` header; OpenMetrics, which has exemplars, only for who asks for it.
        """
        form: Form = "openmetrics" if wants_openmetrics(accept) else "text"
        return await self._scrapes.get(names, form), OPENMETRICS if form == "openmetrics" else CONTENT_TYPE

    async def _render(self, names: bool, form: Form) -> bytes:
        if self.gather is not None:
            merged = Merged(*await self.gather(await self.export()))
            return await anyio.to_thread.run_sync(_text, merged if names else Nameless(merged), form)
        self._look()
        return await anyio.to_thread.run_sync(_text, self._registry if names else self._nameless, form)

    async def export(self) -> bytes:
        """What this process has counted, for another that merges it."""
        self._look()
        return await anyio.to_thread.run_sync(export, self._registry)

    def _look(self) -> None:
        self._seen = list(self._health())
        self._read = {family: read() for family, read in self._watched.items()}
        for gone in self._tallies.keys() - {each.upstream for each in self._seen}:
            del self._tallies[gone]

    def collect(self) -> Iterable[Metric]:
        """See `prometheus_client`; called beside the event loop."""
        yield from _of_upstreams(self._seen)
        for family, read in self._read.items():
            values = read() if callable(read) else read
            yield family.of({(): values} if isinstance(values, int | float) else values)
        for family, histogram in self._histograms.items():
            metric = family.metric()
            family.add_histogram(metric, (), histogram.bounds, histogram.counts, histogram.total)
            yield metric


def _of_upstreams(seen: list[Health]) -> Iterable[Metric]:
    """States are a gauge each: 1 for the state it is in."""
    yield families.UPSTREAM_STATE.of({(each.upstream, each.state): 1 for each in seen})
    yield families.BREAKER_STATE.of({(each.upstream, each.breaker): 1 for each in seen})
    yield families.BREAKER_OPENINGS.of({(each.upstream,): each.openings for each in seen})
    yield families.UPSTREAM_IN_FLIGHT.of({(each.upstream,): each.in_flight for each in seen})
    yield families.UPSTREAM_QUEUED.of({(each.upstream,): each.queued for each in seen})
    yield families.UPSTREAM_RETRIES.of({(each.upstream,): each.retries for each in seen})
    yield families.UPSTREAM_RESTARTS.of({(each.upstream,): each.restarts for each in seen})
    yield families.UPSTREAM_FAILURES.of({(each.upstream,): each.tally.failures for each in seen})
    yield families.UPSTREAM_RECEIVED.of({(each.upstream,): each.tally.traffic.received for each in seen})
    yield families.UPSTREAM_SENT.of({(each.upstream,): each.tally.traffic.sent for each in seen})
    yield families.CATALOGUE_ITEMS.of(
        {(each.upstream, kind): many for each in seen for kind, many in each.items.items()}
    )
    queue = families.UPSTREAM_QUEUE_DURATION
    waits = queue.metric()
    for each in seen:
        queued = each.tally.queued
        queue.add_histogram(waits, (each.upstream,), queued.bounds, queued.counts, queued.total)
    yield waits


def _text(registry: Collector, form: Form) -> bytes:
    if form == "openmetrics":
        return cast(bytes, openmetrics.generate_latest(registry))  # pyright: ignore[reportUnknownMemberType]
    from prometheus_client.exposition import generate_latest  # with an HTTP server of its own, until the first scrape

    return generate_latest(registry)


def wants_openmetrics(accept: str) -> bool:
    """Whether an `Accept` header prefers OpenMetrics 1.0 to the older text form. A wildcard does not."""
    best = {"application/openmetrics-text": 0.0, "text/plain": 0.0}
    for item in accept.lower().split(","):
        kind, *parameters = (part.strip() for part in item.split(";"))
        given = {name: value for name, _, value in (parameter.partition("=") for parameter in parameters)}
        if kind in best and (kind == "text/plain" or given.get("version", "1.0.0").strip('"') in ("1.0.0", "0.0.1")):
            best[kind] = max(best[kind], _quality(given.get("q", "1")))
    return best["application/openmetrics-text"] > 0 and best["application/openmetrics-text"] >= best["text/plain"]


def _quality(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0
