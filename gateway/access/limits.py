"""Rate limits: has a principal asked too often, of the gateway, of one upstream, or of one tool?"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import lru_cache

from gateway.access.rate_limit import Decision, Limit, Limiter, headers
from gateway.errors import RateLimited
from gateway.protocol import CANCELLED
from gateway.request import Principal

Observe = Callable[[str, bool], None]
"""`(limit, allowed)`: told of every decision, for the metrics."""


@dataclass(frozen=True, slots=True)
class UpstreamLimits:
    """Limits of one upstream, for each principal."""

    whole: Limit | None = None
    """On all requests to it."""
    tools: Mapping[str, Limit] = field(default_factory=dict[str, Limit])
    """Glob over its own tool names → limit on calls of each tool that matches; the first glob counts."""

    def of_tool(self, name: str) -> Limit | None:
        return next((limit for glob, limit in self.tools.items() if fnmatchcase(name, glob)), None)


_limit = lru_cache(maxsize=1024)(Limit)


class Limits:
    """Counts requests against the limits they fall under."""

    def __init__(
        self, limiter: Limiter, default: Limit, upstreams: Mapping[str, UpstreamLimits], observe: Observe
    ) -> None:
        self._limiter = limiter
        self._observe = observe
        self.use(default, upstreams)

    def use(self, default: Limit, upstreams: Mapping[str, UpstreamLimits]) -> None:
        """From now on these are the limits; what was counted stays counted.

        Args:
            default: for principals whose credential does not say.
            upstreams: further limits, by upstream.
        """
        self._default = default
        self._upstreams = upstreams

    def count(self, principal: Principal) -> dict[str, str]:
        """Count one request of a principal, and of all that an agent descends from; returns the header fields that say
        what is left.

        Raises:
            RateLimited: nothing is.
        """
        decisions: list[Decision] = []
        # The root comes last: what an agent is refused by a limit of its own uses up nothing that others have.
        for id, given in ((principal.id, principal.rate_limit_rpm), *reversed(principal.ancestors)):
            rpm = self._default.rpm if given is None else given
            if rpm >= 0:
                limit = _limit(rpm, self._default.burst)
                decisions.append(self._consume("principal", f"principal:{id}", limit, f"of {rpm} a minute"))
        if len(decisions) > 1:
            return headers(min(decisions, key=lambda decision: decision.remaining))
        return headers(decisions[0]) if decisions else {}

    async def count_notification(self, principal: Principal, method: str) -> None:
        """Count what a principal says unasked like a request. A cancellation is counted and never refused: it takes
        load away.

        Raises:
            RateLimited: the principal's limit is used up.
        """
        try:
            self.count(principal)
        except RateLimited:
            if method != CANCELLED:
                raise

    def count_upstream(self, principal: Principal, upstream: str, tool: str | None) -> None:
        """Count a request against the limits of its upstream and tool, if there are any.

        Raises:
            RateLimited: one of them is used up.
        """
        limits = self._upstreams.get(upstream)
        if limits is None:
            return
        limit = limits.of_tool(tool) if tool is not None else None
        for id in (principal.id, *(id for id, _ in reversed(principal.ancestors))):
            if limits.whole is not None:
                what = f"of {limits.whole.rpm} a minute for upstream {upstream!r}"
                self._consume("upstream", f"upstream:{upstream}:{id}", limits.whole, what)
            if limit is not None:
                what = f"of {limit.rpm} a minute for this tool"
                self._consume("tool", f"tool:{upstream}:{tool}:{id}", limit, what)

    def _consume(self, kind: str, key: str, limit: Limit, what: str) -> Decision:
        decision = self._limiter.consume(key, limit)
        self._observe(kind, decision.allowed)
        if not decision.allowed:
            error = RateLimited(decision.retry_after, what)
            error.headers.update(headers(decision))
            raise error
        return decision
