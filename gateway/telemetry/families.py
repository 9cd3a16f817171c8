"""Every metric there is: its name, what it means, its unit and its labels. `docs/operations.md` shows this table.

Names follow Prometheus and OpenMetrics: base units (seconds, bytes) at the end of the name, `_total` after counters.
Labels have few values by construction: methods and outcomes are closed sets, upstreams are the configured ones. None is
ever a client's text.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from prometheus_client.metrics_core import Metric
from prometheus_client.samples import Exemplar

Kind = Literal["counter", "gauge", "histogram", "summary"]

Labels = tuple[str, ...]
"""Values, in the order of a family's labels."""

Values = Mapping[Labels, float]


@dataclass(frozen=True, slots=True)
class Family:
    """One metric."""

    name: str
    """Without the `_total` that a counter's samples end with."""
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    unit: Literal["", "seconds", "bytes", "tokens"] = ""
    when: str = ""
    """When it is there, if not always."""

    @property
    def shown(self) -> str:
        """The name to ask Prometheus for; of a histogram or a summary, what its samples' names begin with."""
        return f"{self.name}_total" if self.kind == "counter" else self.name

    def metric(self) -> Metric:
        """The family, with no samples yet."""
        return Metric(self.name, self.help, self.kind, self.unit)

    def of(self, values: Values) -> Metric:
        """A gauge or counter with these values."""
        metric, name = self.metric(), self.shown
        for labels, value in values.items():
            metric.add_sample(name, self._named(labels), value)
        return metric

    def add_histogram(
        self,
        metric: Metric,
        labels: Labels,
        bounds: Sequence[float],
        counts: Sequence[float],
        total: float,
        exemplars: Mapping[int, Exemplar] | None = None,
    ) -> None:
        """
        Args:
            counts: how many by bucket; one more than there are bounds.
            total: the sum of all that was observed.
            exemplars: by bucket.
        """
        named, many = self._named(labels), 0.0
        for number, count in enumerate(counts):
            many += count
            bound = "+Inf" if number == len(bounds) else str(float(bounds[number]))
            exemplar = exemplars.get(number) if exemplars else None
            metric.add_sample(f"{self.name}_bucket", {**named, "le": bound}, many, None, exemplar)
        metric.add_sample(f"{self.name}_count", named, many)
        metric.add_sample(f"{self.name}_sum", named, total)

    def add_summary(self, metric: Metric, labels: Labels, count: float, total: float) -> None:
        metric.add_sample(f"{self.name}_count", self._named(labels), count)
        metric.add_sample(f"{self.name}_sum", self._named(labels), total)

    def _named(self, labels: Labels) -> dict[str, str]:
        return dict(zip(self.labels, labels, strict=True))


_BY_TOOL: Final = "with `gateway.metrics.tools`"
_STORE: Final = "with `gateway.store`"
_WORKERS: Final = "with `serve --workers`"
_TRACING: Final = "with tracing"

REQUESTS = Family("mcp_gateway_requests", "counter", "MCP requests answered.", labels=("method", "upstream", "outcome"))
VIEW_REQUESTS = Family(
    "mcp_gateway_view_requests",
    "counter",
    "The same by view: `/mcp`, one server's own, or a profile.",
    labels=("view", "outcome"),
)
REQUEST_DURATION = Family(
    "mcp_gateway_request_duration_seconds",
    "histogram",
    "Time from a request to its answer.",
    labels=("method", "upstream"),
    unit="seconds",
)
REQUESTS_IN_FLIGHT = Family("mcp_gateway_requests_in_flight", "gauge", "Requests that arrive or are answered.")
RESULT_TOKENS = Family(
    "mcp_gateway_result_tokens",
    "counter",
    "Tokens that results cost who reads them: a quarter of their bytes, as an estimate.",
    labels=("upstream",),
    unit="tokens",
)
RESULTS_CUT = Family(
    "mcp_gateway_results_cut",
    "counter",
    "Results of which agents were given the head (`results` of a server): the rest is kept, too_large for that, or"
    " not_kept, because the store did not answer.",
    labels=("upstream", "outcome"),
)
RESULT_READS = Family(
    "mcp_gateway_result_reads",
    "counter",
    "Reads of what was kept of them: ok, unknown (it has expired, or is nobody's or somebody else's), invalid.",
    labels=("outcome",),
)
TOOL_CALLS = Family(
    "mcp_gateway_tool_calls",
    "counter",
    "Calls of each tool, under the upstream's own names.",
    labels=("upstream", "tool", "outcome"),
    when=_BY_TOOL,
)
TOOL_CALL_DURATION = Family(
    "mcp_gateway_tool_call_duration_seconds",
    "summary",
    "Time from a call of each tool to its answer.",
    labels=("upstream", "tool"),
    unit="seconds",
    when=_BY_TOOL,
)

UPSTREAM_STATE = Family(
    "mcp_gateway_upstream_state", "gauge", "1 for the state an upstream is in.", labels=("upstream", "state")
)
UPSTREAM_IN_FLIGHT = Family(
    "mcp_gateway_upstream_requests_in_flight", "gauge", "Requests an upstream is at work on.", labels=("upstream",)
)
UPSTREAM_QUEUED = Family(
    "mcp_gateway_upstream_requests_queued",
    "gauge",
    "Requests that wait for one of an upstream's places (max_concurrency).",
    labels=("upstream",),
)
UPSTREAM_QUEUE_DURATION = Family(
    "mcp_gateway_upstream_queue_duration_seconds",
    "histogram",
    "How long requests waited for a place; those that had one at once are not in it.",
    labels=("upstream",),
    unit="seconds",
)
UPSTREAM_RETRIES = Family(
    "mcp_gateway_upstream_retries", "counter", "Requests sent to an upstream once more.", labels=("upstream",)
)
UPSTREAM_RESTARTS = Family(
    "mcp_gateway_upstream_restarts",
    "counter",
    "How often an upstream was connected to again, or its program started again.",
    labels=("upstream",),
)
UPSTREAM_FAILURES = Family(
    "mcp_gateway_upstream_connection_failures",
    "counter",
    "How often the connection to an upstream was lost, or could not be made.",
    labels=("upstream",),
)
UPSTREAM_RECEIVED = Family(
    "mcp_gateway_upstream_received_bytes",
    "counter",
    "Bytes received from an upstream, with HTTP and without TLS.",
    labels=("upstream",),
    unit="bytes",
)
UPSTREAM_SENT = Family(
    "mcp_gateway_upstream_sent_bytes", "counter", "Bytes sent to an upstream.", labels=("upstream",), unit="bytes"
)
BREAKER_STATE = Family(
    "mcp_gateway_breaker_state",
    "gauge",
    "1 for the state an upstream's breaker is in.",
    labels=("upstream", "state"),
)
BREAKER_OPENINGS = Family(
    "mcp_gateway_breaker_openings", "counter", "How often an upstream's breaker has opened.", labels=("upstream",)
)

CATALOGUE_ITEMS = Family(
    "mcp_gateway_catalogue_items",
    "gauge",
    "What an upstream lists: tools, resources, resource_templates, prompts, skills.",
    labels=("upstream", "kind"),
)
CATALOGUE_TOKENS = Family(
    "mcp_gateway_catalogue_tokens",
    "gauge",
    "Tokens that a view's tools (name, description, input schema) cost a model: a quarter of their bytes, as an"
    " estimate. `/mcp` is the merged view; one that is searched lists few.",
    labels=("view",),
    unit="tokens",
)
PIN_FINDINGS = Family(
    "mcp_gateway_pin_findings",
    "gauge",
    "Definitions that are not as pinned (new, changed, removed), or have text that people do not see (suspicious).",
    labels=("upstream", "finding"),
)
DEFINITION_CHANGES = Family(
    "mcp_gateway_definition_changes",
    "counter",
    "Unapproved changes of pinned definitions, when first seen.",
    labels=("upstream", "change"),
)
SUSPICIOUS_TEXTS = Family(
    "mcp_gateway_suspicious_texts",
    "counter",
    "Definitions with text that people do not see, when first seen.",
    labels=("upstream",),
)

CONNECTIONS = Family("mcp_gateway_connections", "gauge", "Connections of clients that are open.")
SESSIONS = Family("mcp_gateway_sessions", "gauge", "Sessions and listen streams that are open (max_sessions).")
STREAMS = Family("mcp_gateway_streams", "gauge", "Event streams that are open to clients, of all kinds.")
STREAMS_LOST = Family("mcp_gateway_streams_lost", "counter", "Streams ended because nobody read them.")
BACKLOG = Family("mcp_gateway_backlog_bytes", "gauge", "Bytes that wait for clients to read them.", unit="bytes")
RECEIVED = Family(
    "mcp_gateway_received_bytes", "counter", "Bytes received from clients, with HTTP and without TLS.", unit="bytes"
)
SENT = Family("mcp_gateway_sent_bytes", "counter", "Bytes sent to clients.", unit="bytes")
PARKED = Family(
    "mcp_gateway_parked_calls", "gauge", "Calls that wait at an upstream for an agent to come back with answers."
)
LIMIT_DECISIONS = Family(
    "mcp_gateway_limit_decisions", "counter", "Decisions of rate limits and caps.", labels=("limit", "decision")
)

LOOP_LAG = Family(
    "mcp_gateway_event_loop_lag_seconds",
    "histogram",
    "How late the event loop is, looked at ten times a second.",
    unit="seconds",
)
TASKS = Family("mcp_gateway_tasks", "gauge", "Tasks of the event loop.")
LOG_LINES_DROPPED = Family(
    "mcp_gateway_log_lines_dropped", "counter", "Lines of the log, the access log's too, that nobody took in time."
)
AUDIT_TROUBLE = Family("mcp_gateway_audit_trouble", "gauge", "1 while lines of the audit log cannot be written.")
SPANS = Family(
    "mcp_gateway_spans",
    "counter",
    "Spans that were exported, that the collector did not take (failed), or for which there was no room (dropped).",
    labels=("outcome",),
    when=_TRACING,
)
STORE_UP = Family(
    "mcp_gateway_store_up", "gauge", "1 while the store answers quickly, 0 while it is away or slow.", when=_STORE
)
STORE_NODES = Family("mcp_gateway_store_nodes", "gauge", "Nodes that use the store.", when=_STORE)
STORE_SHARES = Family(
    "mcp_gateway_store_share_decisions",
    "counter",
    "Requests let in by this node's share of a limit, because the store did not answer in time.",
    when=_STORE,
)
WORKERS = Family("mcp_gateway_workers", "gauge", "Worker processes that serve.", when=_WORKERS)
WORKER_DEATHS = Family(
    "mcp_gateway_worker_deaths", "counter", "Worker processes that ended unasked, and were replaced.", when=_WORKERS
)
RELOADS = Family("mcp_gateway_config_reloads", "counter", "Changes of the configuration's files.", labels=("outcome",))
BUILD = Family("mcp_gateway_build_info", "gauge", "1, with what runs here.", labels=("version", "environment"))

FAMILIES: Final[Sequence[Family]] = tuple(value for value in globals().values() if isinstance(value, Family))
"""All of them, in the order in which they are shown."""


def table(families: Iterable[Family] = FAMILIES) -> str:
    """The table in `docs/operations.md`."""
    rows = ["| metric | type | labels | meaning |", "|---|---|---|---|"]
    for each in families:
        labels = ", ".join(f"`{label}`" for label in each.labels)
        meaning = f"{each.help} ({each.when})" if each.when else each.help
        rows.append(f"| `{each.shown}` | {each.kind} | {labels} | {meaning} |")
    return "\n".join(rows)
