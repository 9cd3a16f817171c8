"""The metrics without the upstreams' names: for whoever may not know which there are, they are summed up."""

from collections.abc import Iterable
from typing import Final

from prometheus_client.core import Metric
from prometheus_client.registry import Collector, CollectorRegistry
from prometheus_client.samples import Sample

LABEL: Final = "upstream"

_CREATED: Final = "_created"
"""How the name of a sample ends that says since when something is counted."""


class Nameless(Collector):
    """What a registry holds, each sample over all upstreams. So `mcp_gateway_upstream_state` says how many upstreams
    are in each state."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def collect(self) -> Iterable[Metric]:
        return map(_summed, self._registry.collect())


def _summed(family: Metric) -> Metric:
    if not any(LABEL in sample.labels for sample in family.samples):
        return family
    sums: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}
    for sample in family.samples:
        key = sample.name, tuple(each for each in sample.labels.items() if each[0] != LABEL)
        if key not in sums:
            sums[key] = sample.value
        elif sample.name.endswith(_CREATED):
            sums[key] = min(sums[key], sample.value)
        else:
            sums[key] += sample.value
    summed = Metric(family.name, family.documentation, family.type, family.unit)
    summed.samples = [Sample(name, dict(labels), value) for (name, labels), value in sums.items()]
    return summed
