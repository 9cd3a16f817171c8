"""What the metrics show of the gateway as a whole, and who knows each number."""

from functools import partial
from typing import Final

from gateway.access.in_flight import InFlight
from gateway.access.places import SessionQuota
from gateway.access.policy import Policy
from gateway.bridge.parking import Parking
from gateway.call import Call
from gateway.catalogue.library import CatalogueViews
from gateway.catalogue.pin_reports import findings
from gateway.catalogue.weights import CatalogueWeights, own_tools_of, shaped_of, tools_of
from gateway.frontend.backlog import Backlogs
from gateway.frontend.listener import HttpListener
from gateway.request import Principal
from gateway.server.results import BoundedResults
from gateway.telemetry import families, logs
from gateway.telemetry.metrics import Metrics

SOMEBODY: Final = Principal("nobody")
"""Whom no rule concerns but those for everybody."""


def watch_gateway(
    metrics: Metrics,
    places: SessionQuota,
    in_flight: InFlight,
    parking: Parking,
    library: CatalogueViews,
    policy: Policy,
    results: BoundedResults,
) -> None:
    """What there is behind every front."""
    watch, weights = metrics.watch, CatalogueWeights()
    watch(families.SESSIONS, lambda: places.total)
    watch(families.REQUESTS_IN_FLIGHT, lambda: in_flight.total)
    watch(families.PARKED, lambda: parking.parked)
    watch(families.PIN_FINDINGS, lambda: partial(findings, library.verdicts()))
    grant = partial(policy.grant, SOMEBODY)

    def weigh() -> partial[dict[tuple[str], float]]:
        return partial(weights.of, tools_of(library), shaped_of(library, grant), own_tools_of(library))

    watch(families.CATALOGUE_TOKENS, weigh)
    watch(families.RESULTS_CUT, lambda: dict(results.cuts))
    watch(families.RESULT_READS, lambda: dict(results.reads))
    watch(families.LOG_LINES_DROPPED, logs.lines_dropped)


def watch_http(metrics: Metrics, listener: HttpListener, waiting: Backlogs) -> None:
    """
    Args:
        waiting: counts what clients have not read.
    """
    watch = metrics.watch
    watch(families.BACKLOG, lambda: waiting.total)
    watch(families.STREAMS, lambda: waiting.streams)
    watch(families.STREAMS_LOST, lambda: waiting.lost)
    watch(families.CONNECTIONS, lambda: listener.open)
    watch(families.RECEIVED, lambda: listener.traffic.received)
    watch(families.SENT, lambda: listener.traffic.sent)


def tool_of(library: CatalogueViews, call: Call) -> str | None:
    """The upstream's own name of the tool that a call is for, if it lists it."""
    owner = library.whole(call.view).tool(str(call.params.get("name")))
    return owner.original if owner is not None and owner.upstream == call.upstream else None
