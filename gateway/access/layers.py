"""What stands between a request and its handler: has the principal the scope for it, and has it asked too often?"""

from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, Final

from gateway.access.rate_limit import Decision, Limit, Limiter, headers
from gateway.errors import GatewayError, RateLimited
from gateway.protocol import CANCELLED, LIST_METHODS
from gateway.request import READ, WRITE, Principal, Request

Handler = Callable[[Request], Awaitable[dict[str, Any]]]
Observe = Callable[[str, bool], None]
"""`(limit, allowed)`: told of every decision, for the metrics."""

FREE: Final = frozenset({"ping"})
"""Requests that cost nothing and need nothing."""

SCOPES: Final = {
    **dict.fromkeys(("initialize", "ping")),
    **dict.fromkeys(("server/discover", "completion/complete", "prompts/get", "logging/setLevel", "tasks/get"), READ),
    **dict.fromkeys(("resources/read", "resources/subscribe", "resources/unsubscribe", "subscriptions/listen"), READ),
    **dict.fromkeys((*LIST_METHODS, "roots/list"), READ),
}
"""Method → the scope it needs; every other may do something, and needs `write`."""


def scope_of(method: str) -> str | None:
    """The scope that a request needs, and with it whoever answers a question that belongs to it."""
    return SCOPES.get(method, WRITE)


def authorize(lacks_scope: Callable[[Request, Collection[str]], GatewayError]) -> Callable[[Handler], Handler]:
    """Let a request pass if its principal has the scope for it. What it may use is the catalogue's matter: what it may
    not is not there.

    Args:
        lacks_scope: makes the error for who lacks scopes.
    """

    def layer(following: Handler) -> Handler:
        async def handle(request: Request) -> dict[str, Any]:
            needed = scope_of(request.method)
            if needed is not None and needed not in request.principal.scopes:
                raise lacks_scope(request, {needed})
            return await following(request)

        return handle

    return layer


@dataclass(frozen=True, slots=True)
class UpstreamLimits:
    """Limits of one upstream, for each principal."""

    whole: Limit | None = None
    """On all requests to it."""
    tools: Mapping[str, Limit] = field(default_factory=dict[str, Limit])
    """Glob over its own tool names → limit on calls of each tool that matches; the first glob counts."""

    def of_tool(self, name: str) -> Limit | None:
        return next((limit for glob, limit in self.tools.items() if fnmatchcase(name, glob)), None)


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

    def layer(self, following: Handler) -> Handler:
        """Count a request against its principal's limit.

        Raises:
            RateLimited: it is used up.
        """

        async def handle(request: Request) -> dict[str, Any]:
            if request.method not in FREE:
                request.response_headers.update(await self.count(request.principal))
            return await following(request)

        return handle

    async def count(self, principal: Principal) -> dict[str, str]:
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
                limit = Limit(rpm, self._default.burst)
                decisions.append(await self._take("principal", f"principal:{id}", limit, f"of {rpm} a minute"))
        return headers(min(decisions, key=lambda decision: decision.remaining)) if decisions else {}

    async def count_notification(self, principal: Principal, method: str) -> None:
        """Count what a principal says unasked like a request. A cancellation is counted and never refused: it takes
        load away.

        Raises:
            RateLimited: the principal's limit is used up.
        """
        try:
            await self.count(principal)
        except RateLimited:
            if method != CANCELLED:
                raise

    async def count_upstream(self, request: Request, upstream: str, tool: str | None) -> None:
        """Count a request against the limits of its upstream and tool, if there are any.

        Raises:
            RateLimited: one of them is used up.
        """
        limits = self._upstreams.get(upstream)
        if limits is None:
            return
        limit = limits.of_tool(tool) if tool is not None else None
        for id in (request.principal.id, *(id for id, _ in reversed(request.principal.ancestors))):
            if limits.whole is not None:
                what = f"of {limits.whole.rpm} a minute for upstream {upstream!r}"
                await self._take("upstream", f"upstream:{upstream}:{id}", limits.whole, what)
            if limit is not None:
                what = f"of {limit.rpm} a minute for this tool"
                await self._take("tool", f"tool:{upstream}:{tool}:{id}", limit, what)

    async def _take(self, kind: str, key: str, limit: Limit, what: str) -> Decision:
        decision = await self._limiter.take(key, limit)
        self._observe(kind, decision.allowed)
        if not decision.allowed:
            error = RateLimited(decision.retry_after, what)
            error.headers.update(headers(decision))
            raise error
        return decision
