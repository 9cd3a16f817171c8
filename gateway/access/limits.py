"""Rate limits: has a principal asked too often, of the gateway, of one upstream, or of one tool?"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import NamedTuple

from gateway.access.rate_limit import Decision, Limit, Limiter, header_lines, headers
from gateway.errors import RateLimited
from gateway.protocol import CANCELLED
from gateway.request import Principal

Observe = Callable[[str, bool], None]
"""`(limit, allowed)`: told of decisions, for the metrics; of all but those that `Limits.allowed` counts."""


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
        self.allowed = 0
        """Requests that the limit of their principal allowed, where no other had to be asked."""
        self.use(default, upstreams)

    def use(self, default: Limit, upstreams: Mapping[str, UpstreamLimits]) -> None:
        """From now on these are the limits; what was counted stays counted.

        Args:
            default: for principals whose credential does not say.
            upstreams: further limits, by upstream.
        """
        self._default = default
        self.upstreams = upstreams
        """What is asked of one more often than that is refused."""

    def count_now(self, principal: Principal) -> str | None:
        """Count one request of a principal, and of all that an agent descends from; returns the lines of HTTP that say
        what is left. None if that takes waiting for the store that has the buckets, and `count_later` is to be asked.

        Raises:
            RateLimited: nothing is.
        """
        if principal.ancestors:
            decisions = self._consume_now(self._of_principal(principal))
            return None if decisions is None else _lines(decisions)
        default, rpm = self._default, principal.rate_limit_rpm
        if rpm is None:
            rpm = default.rpm
        if rpm < 0:
            return ""
        limit = default if rpm == default.rpm else _limit(rpm, default.burst)
        decision = self._limiter.consume("principal:" + principal.id, limit)
        if decision is None:
            return None
        if not decision.allowed:
            self._observe("principal", False)
            raise _refusal(decision, f"of {rpm} a minute")
        self.allowed += 1
        return header_lines(decision)

    async def count_later(self, principal: Principal) -> str:
        """As `count_now`, however long it takes."""
        return _lines(await self._consume(self._of_principal(principal)))

    async def count(self, principal: Principal) -> dict[str, str]:
        """The same; returns the header fields."""
        decisions = await self._consume(self._of_principal(principal))
        return headers(_tightest(decisions)) if decisions else {}

    async def count_notification(self, principal: Principal, method: str) -> None:
        """Count what a principal says unasked like a request. A cancellation is counted and never refused: it takes
        load away.

        Raises:
            RateLimited: the principal's limit is used up.
        """
        try:
            if self.count_now(principal) is None:
                await self.count_later(principal)
        except RateLimited:
            if method != CANCELLED:
                raise

    def count_upstream_now(self, principal: Principal, upstream: str, tool: str | None) -> bool:
        """Count a request against the limits of its upstream and tool, if there are any. False if that takes waiting,
        and `count_upstream` is to be asked.

        Raises:
            RateLimited: one of them is used up.
        """
        limits = self.upstreams.get(upstream)
        return limits is None or self._consume_now(_of_upstream(limits, principal, upstream, tool)) is not None

    async def count_upstream(self, principal: Principal, upstream: str, tool: str | None) -> None:
        """As `count_upstream_now`, however long it takes."""
        await self._consume(_of_upstream(self.upstreams[upstream], principal, upstream, tool))

    def _of_principal(self, principal: Principal) -> list["_Bucket"]:
        # The root comes last: what an agent is refused by a limit of its own uses up nothing that others have.
        buckets: list[_Bucket] = []
        for id, given in ((principal.id, principal.rate_limit_rpm), *reversed(principal.ancestors)):
            rpm = self._default.rpm if given is None else given
            if rpm >= 0:
                limit = _limit(rpm, self._default.burst)
                buckets.append(_Bucket("principal", f"principal:{id}", limit, f"of {rpm} a minute"))
        return buckets

    def _consume_now(self, buckets: list["_Bucket"]) -> list[Decision] | None:
        """A token of each, in order; None, taking none, if one of them has to be waited for."""
        decisions: list[Decision] = []
        for bucket in buckets:
            decision = self._limiter.consume(bucket.key, bucket.limit)
            if decision is None:
                for taken in buckets[: len(decisions)]:
                    self._limiter.give_back(taken.key, taken.limit)
                return None
            decisions.append(decision)
            if not decision.allowed:
                break
        for bucket, decision in zip(buckets, decisions, strict=False):  # now that it is not asked once more
            self._observe(bucket.kind, decision.allowed)
            if not decision.allowed:
                raise _refusal(decision, bucket.what)
        return decisions

    async def _consume(self, buckets: list["_Bucket"]) -> list[Decision]:
        decisions: list[Decision] = []
        for bucket in buckets:
            decision = self._limiter.consume(bucket.key, bucket.limit)
            if decision is None:
                decision = await self._limiter.consume_later(bucket.key, bucket.limit)
            self._observe(bucket.kind, decision.allowed)
            if not decision.allowed:
                raise _refusal(decision, bucket.what)
            decisions.append(decision)
        return decisions


class _Bucket(NamedTuple):
    """Whose token is taken."""

    kind: str
    key: str
    limit: Limit
    what: str
    """The limit, in words."""


def _of_upstream(limits: UpstreamLimits, principal: Principal, upstream: str, tool: str | None) -> list[_Bucket]:
    limit = limits.of_tool(tool) if tool is not None else None
    buckets: list[_Bucket] = []
    for id in (principal.id, *(id for id, _ in reversed(principal.ancestors))):
        if limits.whole is not None:
            what = f"of {limits.whole.rpm} a minute for upstream {upstream!r}"
            buckets.append(_Bucket("upstream", f"upstream:{upstream}:{id}", limits.whole, what))
        if limit is not None:
            what = f"of {limit.rpm} a minute for this tool"
            buckets.append(_Bucket("tool", f"tool:{upstream}:{tool}:{id}", limit, what))
    return buckets


def _tightest(decisions: list[Decision]) -> Decision:
    return min(decisions, key=lambda decision: decision.remaining)


def _lines(decisions: list[Decision]) -> str:
    """What the tightest says is left."""
    return header_lines(_tightest(decisions)) if decisions else ""


def _refusal(decision: Decision, what: str) -> RateLimited:
    error = RateLimited(decision.retry_after, what)
    error.headers.update(headers(decision))
    return error
