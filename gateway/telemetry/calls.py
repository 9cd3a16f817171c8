"""What is counted and logged of every call that reaches the pipeline, in one function: one clock, one look at it.

Metrics are cells of our own, which the registry reads when it is scraped. Access log lines are kept for a moment and
written together; of arguments and results they say nothing.
"""

import math
import time
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar

from gateway.call import Call, HttpExchange
from gateway.errors import GatewayError
from gateway.harmless import Clipped
from gateway.protocol import Era
from gateway.request import Principal
from gateway.telemetry import families
from gateway.telemetry.access_log import AccessLine, members_of
from gateway.telemetry.activity import Activity, Cell, unseen
from gateway.telemetry.cells import DURATIONS

METHODS: Final = frozenset(
    {
        *("initialize", "ping", "server/discover", "tools/list", "tools/call", "prompts/list", "prompts/get"),
        *("resources/list", "resources/templates/list", "resources/read", "resources/subscribe"),
        *("skills/list", "skills/get", "resources/directory/read"),
        *("tasks/get", "tasks/list", "tasks/result", "tasks/update", "tasks/cancel"),
        *("resources/unsubscribe", "completion/complete", "logging/setLevel", "subscriptions/listen"),
    }
)
LISTEN: Final = "subscriptions/listen"
"""It lasts as long as its client wants, which says nothing."""


BYTES_A_TOKEN: Final = 4
"""As an estimate: of English and of JSON, the models' tokens have some four."""
MAX_TOOLS: Final = 2000
"""Most tools that are counted by name; calls of further ones are counted together."""
OTHER: Final = "other"
MAX_CLIENT: Final = 100
"""Characters of what a client calls itself."""
MAX_TARGET: Final = 200
"""Characters of the name of a tool or the like; what is called by longer ones is counted by its method."""


MAX_ALIKE: Final = 4096
"""Kinds of calls of which it is remembered where they are counted."""

_BYTES: Final = -2
_SECONDS: Final = -1
"""Where durations have the results' bytes and the sum of seconds; before them are the counts by bucket."""

Who = tuple[str | None, str, str, str | None]
"""Whom lines say the same of: view, the id of the principal, the revision that is spoken, and the client's name."""
Kind = tuple[str, str | None, str | None, str, int | None, Who]
"""Calls of which lines say the same, but for numbers: method, target, upstream, outcome, code, and who."""


class CallRecorder(Collector):
    """
    Args:
        write: takes one line of the access log.
        tool_of: the upstream's own name of the tool that a call is for, None if it lists none such. Without it, calls
            are not counted by tool.
        audit: told of each call, and how many milliseconds it took.
    """

    def __init__(
        self,
        write: Callable[[AccessLine], None],
        tool_of: Callable[[Call], str | None] | None = None,
        audit: Callable[[Call, float], None] | None = None,
    ) -> None:
        self._write = write
        self._audit = audit
        self.activity = Activity()
        """Who calls what, over the last minute."""
        self._tool_of = tool_of
        self._tools: dict[tuple[str, str], _Tool] = {}
        """(upstream, tool) → how its calls went."""
        self._calls: dict[tuple[str, str, str], list[float]] = {}
        """By method, upstream and outcome: how many by how long they took, one more for what is beyond all buckets; the
        bytes of the results; and the sum of seconds."""
        self._views: dict[tuple[str, str], _Count] = {}
        """By view and outcome; not of the merged view."""
        self._exemplars: dict[tuple[str, str], dict[int, Exemplar]] = {}
        """(method, upstream) → by bucket, a call that was traced."""
        self._alike: dict[Kind, _Alike] = {}

    def record(self, call: Call) -> None:
        """The call is over."""
        now = time.perf_counter()
        seconds = now - call.began
        agent, http, params, outcome = call.agent, call.http, call.params, call.outcome
        target = params.get("name") or params.get("uri")
        if type(target) is not str:
            target = None
        who = agent.view, call.principal.id, agent.version, agent.info.get("name")
        kind = call.method, target, call.upstream, outcome, call.code, who
        alike = self._alike.get(kind) or self._alike_of(kind)
        if alike.in_view is not None:
            alike.in_view.calls += 1
        calls, bucket = alike.calls, bisect_left(DURATIONS, seconds)
        calls[bucket] += 1
        calls[_BYTES] += call.result_bytes
        calls[_SECONDS] += seconds
        if now >= alike.until:
            alike.active = self.activity.cell(call.principal, call.upstream or "", alike.what, now)
            alike.until = self.activity.until
        alike.active.add(seconds, bucket, outcome == "ok")
        if (trace := call.trace) is not None and trace.is_sampled and call.method != LISTEN:
            self._keep_exemplar(trace.trace_id, alike.key, seconds, bucket)
        if self._tool_of is not None and call.method == "tools/call":
            self._count_tool(call, self._tool_of, seconds)
        id, size = (http.id or call.request_id, http.received) if http is not None else (call.request_id, call.received)
        call.logged = line = AccessLine(
            time.time(),
            alike.members,
            id,
            call.trace_id,
            agent.digest if agent.lasting else None,
            size,
            seconds,
            call.queue_seconds,
            call.upstream_seconds,
        )
        if http is not None:
            http.logged = line
        self._write(line)
        if self._audit is not None:
            self._audit(call, int(seconds * 100_000 + 0.5) / 100)

    def _alike_of(self, kind: Kind) -> "_Alike":
        """What is known of calls of that kind; remembered, unless a client made up long names."""
        method, target, upstream, outcome, code, (view, principal, version, client) = kind
        counted, of = method if method in METHODS else OTHER, upstream or ""
        is_short = target is None or len(target) <= MAX_TARGET
        members = members_of(
            method=counted if counted != OTHER else _short(method, 100),
            target=_short(target, MAX_TARGET),
            upstream=upstream,
            outcome=outcome,
            code=code,
            principal=principal,
            era=Era.of(version).value,
            view=view,
            client=_short(client, MAX_CLIENT),
        )
        made = _Alike(
            members,
            (counted, of),
            target if upstream and target and is_short else counted,
            self._calls.setdefault((counted, of, outcome), [0.0] * (len(DURATIONS) + 1 + 2)),
            self._views.setdefault((view, outcome), _Count()) if view is not None else None,
            math.inf if counted == LISTEN else -math.inf,
        )
        if counted != OTHER and is_short and len(client or "") <= MAX_CLIENT:
            if len(self._alike) >= MAX_ALIKE:
                self._alike.clear()
            self._alike[kind] = made
        return made

    def refused(
        self,
        http: HttpExchange | None,
        what: str | None,
        address: str,
        by: Principal | None,
        error: GatewayError,
        status: int | None = None,
    ) -> None:
        """A request that was to be one of MCP ended before it was a call.

        Args:
            http: None where it ended before its head was there; so with `what`.
            what: method and path.
            by: who sent it, if that is known.
            status: of HTTP, where that is another than the error's own.
        """
        members = members_of(
            http=_short(what, 200),
            status=error.status if status is None else status,
            outcome=error.outcome,
            code=error.code,
            principal=by.id if by is not None else None,
            address=address,
        )
        if http is None:
            self._write(AccessLine(time.time(), members, None, None, None, None))
            return
        http.logged = line = AccessLine(time.time(), members, http.id or None, None, None, http.received)
        self._write(line)

    def _keep_exemplar(self, trace_id: str, key: tuple[str, str], seconds: float, bucket: int) -> None:
        """The latest of each bucket."""
        exemplar = Exemplar({"trace_id": trace_id}, seconds, round(time.time(), 3))
        self._exemplars.setdefault(key, {})[bucket] = exemplar

    def _count_tool(self, call: Call, tool_of: Callable[[Call], str | None], seconds: float) -> None:
        key = call.upstream or "", (tool_of(call) if call.upstream is not None else None) or OTHER
        if key not in self._tools and len(self._tools) >= MAX_TOOLS:
            key = key[0], OTHER
        tool = self._tools.setdefault(key, _Tool())
        tool.outcomes[call.outcome] = tool.outcomes.get(call.outcome, 0) + 1
        tool.seconds += seconds

    def collect(self) -> Iterable[Metric]:
        """See `prometheus_client`; may be called from another thread."""
        calls = {key: list(numbers) for key, numbers in list(self._calls.items())}
        views = {key: many.calls for key, many in list(self._views.items())}
        counts = {key: sum(numbers[:_BYTES]) for key, numbers in calls.items()}
        yield families.REQUESTS.of(dict(counts))
        yield families.VIEW_REQUESTS.of(_by_path(counts, views))
        durations, tokens = dict[tuple[str, str], list[float]](), dict[families.Labels, float]()
        for (method, upstream, _), numbers in calls.items():
            if method != LISTEN:
                before = durations.get((method, upstream))
                added = numbers if before is None else [one + other for one, other in zip(before, numbers, strict=True)]
                durations[method, upstream] = added
        family = families.REQUEST_DURATION
        seconds = family.metric()
        for key, numbers in durations.items():
            family.add_histogram(
                seconds, key, DURATIONS, numbers[:_BYTES], numbers[_SECONDS], dict(self._exemplars.get(key, ()))
            )
            tokens[key[1:]] = tokens.get(key[1:], 0.0) + numbers[_BYTES] / BYTES_A_TOKEN
        yield seconds
        yield families.RESULT_TOKENS.of(tokens)
        if self._tool_of is not None:
            yield from self._of_tools()

    def _of_tools(self) -> Iterable[Metric]:
        tools = [(key, dict(tool.outcomes), tool.seconds) for key, tool in list(self._tools.items())]
        yield families.TOOL_CALLS.of(
            {(*key, outcome): many for key, outcomes, _ in tools for outcome, many in outcomes.items()}
        )
        summary = families.TOOL_CALL_DURATION
        metric = summary.metric()
        for key, outcomes, seconds in tools:
            summary.add_summary(metric, key, sum(outcomes.values()), seconds)
        yield metric


@dataclass(eq=False, slots=True)
class _Count:
    calls: int = 0


@dataclass(eq=False, slots=True)
class _Alike:
    """What is known of calls of one kind."""

    members: str
    """Of their lines in the access log."""
    key: tuple[str, str]
    """Method and upstream, as metrics have them."""
    what: str
    """What they are for, as `activity` has it."""
    calls: list[float]
    in_view: _Count | None
    until: float
    """How long they are counted in `active`, by `perf_counter`."""
    active: Cell = field(default_factory=unseen)


@dataclass(slots=True)
class _Tool:
    """The calls of one tool."""

    outcomes: dict[str, int] = field(default_factory=dict[str, int])
    seconds: float = 0.0


def _by_path(
    counts: Mapping[tuple[str, str, str], float], views: Mapping[tuple[str, str], int]
) -> dict[families.Labels, float]:
    """Path and outcome → how many; what no other view was asked, the merged one was."""
    merged: dict[str, float] = {}
    for (_, _, outcome), many in counts.items():
        merged[outcome] = merged.get(outcome, 0) + many
    for (_, outcome), many in views.items():
        merged[outcome] = merged.get(outcome, 0) - many
    paths: dict[families.Labels, float] = {("/mcp", outcome): many for outcome, many in merged.items() if many > 0}
    return paths | {(f"/mcp/{view}", outcome): many for (view, outcome), many in views.items()}


def _short(text: object, limit: int) -> str | None:
    """A client's text; it may be long, and anything."""
    if not isinstance(text, str):
        return None
    return text if len(text) <= limit else Clipped(text, limit)
