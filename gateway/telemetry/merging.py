"""The metrics of several processes as those of one. Pure: from what each has exported to families again.

Counters, histograms and summaries are added up, also those of processes that are gone, so that none ever falls. Gauges
are added up where they count something, and else are the highest: of a state, one process that is in it is enough.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import orjson
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar

from gateway.telemetry import families

HIGHEST: Final = frozenset(
    family.name
    for family in (
        *(families.UPSTREAM_STATE, families.BREAKER_STATE, families.CATALOGUE_ITEMS, families.CATALOGUE_TOKENS),
        *(families.PIN_FINDINGS, families.AUDIT_TROUBLE, families.STORE_NODES, families.BUILD),
    )
) | {"process_start_time_seconds"}
"""Gauges that all processes should agree on, and the worst or latest counts."""
LOWEST: Final = frozenset({families.STORE_UP.name})

_Key = tuple[str, tuple[tuple[str, str], ...]]


def export(collector: Collector) -> bytes:
    """All that a process has counted."""
    return _dumps(collector.collect())


def _dumps(found: Iterable[Metric]) -> bytes:
    return orjson.dumps(
        [[each.name, each.documentation, each.type, each.unit, list(map(_sample, each.samples))] for each in found]
    )


def _sample(sample: Any) -> list[Any]:
    exemplar: Exemplar | None = sample.exemplar
    shown = None if exemplar is None else [exemplar.labels, exemplar.value, exemplar.timestamp]
    return [sample.name, sample.labels, sample.value, shown]


class Merged(Collector):
    """
    Args:
        live: what processes that run have exported.
        gone: what those that are gone exported last; their gauges are over.
    """

    def __init__(self, live: Sequence[bytes], gone: Sequence[bytes] = ()) -> None:
        self._live = live
        self._gone = gone

    def collect(self) -> Iterable[Metric]:
        found: dict[str, _Family] = {}
        for data in self._live:
            for family in orjson.loads(data):
                found.setdefault(family[0], _Family(*family[:4])).add(family[4])
        for data in self._gone:
            for family in orjson.loads(data):
                if family[2] != "gauge":
                    found.setdefault(family[0], _Family(*family[:4])).add(family[4])
        return [family.metric() for family in found.values()]


class _Family:
    def __init__(self, name: str, documentation: str, kind: str, unit: str) -> None:
        self._metric = Metric(name, documentation, kind, unit)
        self._samples: dict[_Key, tuple[float, Exemplar | None]] = {}
        is_gauge = kind == "gauge"
        self._add = max if is_gauge and name in HIGHEST else min if is_gauge and name in LOWEST else _sum

    def add(self, samples: Sequence[tuple[str, Mapping[str, str], float, Any]]) -> None:
        for name, labels, value, exemplar in samples:
            key = name, tuple(labels.items())
            before = self._samples.get(key)
            shown = Exemplar(*exemplar) if exemplar is not None else None
            if before is not None:
                value, shown = self._add(before[0], value), before[1] or shown
            self._samples[key] = value, shown

    def metric(self) -> Metric:
        for (name, labels), (value, exemplar) in self._samples.items():
            self._metric.add_sample(name, dict(labels), value, None, exemplar)
        return self._metric


def _sum(one: float, other: float) -> float:
    return one + other


def export_values(values: Mapping[families.Family, float]) -> bytes:
    """What somebody knows who has no registry."""
    return _dumps(family.of({(): value}) for family, value in values.items())
