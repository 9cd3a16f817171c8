"""The metrics without the upstreams' names: for whoever may not know which there are, they are summed up."""

from collections.abc import Iterable
from typing import Final

from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

HIDDEN: Final = frozenset({"upstream", "tool"})
"""Labels over which is summed up. What has none of them is the same for all."""
MERGED: Final = "/mcp"
"""Of what is told of each view (label `view`), the merged one alone is shown."""


class Nameless(Collector):
    """What a registry holds, each sample over all upstreams. So `mcp_gateway_upstream_state` says how many upstreams
    are in each state."""

    def __init__(self, registry: Collector) -> None:
        self._registry = registry

    def collect(self) -> Iterable[Metric]:
        return map(_summed, self._registry.collect())


def _summed(family: Metric) -> Metric:
    sums: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}
    for sample in family.samples:
        if sample.labels.get("view", MERGED) == MERGED:
            key = sample.name, tuple(each for each in sample.labels.items() if each[0] not in HIDDEN)
            sums[key] = sums.get(key, 0.0) + sample.value
    summed = Metric(family.name, family.documentation, family.type, family.unit)
    summed.samples = [Sample(name, dict(labels), value) for (name, labels), value in sums.items()]
    return summed
