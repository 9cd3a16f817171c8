"""The REST side: health, metrics, agents' tokens, the upstreams' states, the configuration, and a page to try them on.

Everything here that is imported at once is cheap. FastAPI is loaded when the first request comes that needs it.
"""

from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import TYPE_CHECKING, cast

from gateway.errors import GatewayError, InsufficientScope
from gateway.frontend.asgi import App
from gateway.frontend.http import Rest
from gateway.request import Principal
from gateway.rest.changes import Changes
from gateway.rest.failures import fail, reply_error
from gateway.rest.metrics import metrics_app
from gateway.rest.public import PublicEndpoints
from gateway.rest.shell import Shell

if TYPE_CHECKING:
    from gateway.access.agent_tokens import AgentTokens
    from gateway.access.policy import Policy
    from gateway.catalogue.library import CatalogueViews
    from gateway.config.reload import Current
    from gateway.logins.connecting import Connecting
    from gateway.telemetry.activity import Activity
    from gateway.telemetry.metrics import Metrics
    from gateway.upstream.upstream import Upstream

__all__ = ["Rest", "fail", "metrics_app", "reply_error", "rest_app"]


def rest_app(
    current: "Current",
    upstreams: "Mapping[str, Upstream]",
    library: "CatalogueViews",
    policy: "Policy",
    metrics: "Metrics",
    agents: "AgentTokens",
    *,
    restart: "Callable[[Upstream], None]",
    count: Callable[[Principal], Awaitable[Mapping[str, str]]],
    is_draining: Callable[[], bool],
    lacks_scope: Callable[[Principal, Collection[str]], GatewayError] = lambda principal, needed: InsufficientScope(
        needed
    ),
    changes: Changes | None = None,
    activity: "Activity | None" = None,
    load: Callable[[], tuple[int, int]] = lambda: (0, 0),
    connecting: "Callable[[], Connecting] | None" = None,
) -> Rest:
    """What is behind every path that is not MCP.

    Args:
        upstreams: those that run now; looked at on every request.
        restart: closes an upstream's connection and opens it anew.
        count: counts a request that changes something against its principal's limit, and returns the headers that say
            so; raises `RateLimited`.
        is_draining: whether the gateway is about to stop.
        lacks_scope: makes the error for who lacks scopes.
        activity: what `/status` shows.
        load: how many sessions are open, and how many requests in flight.
        changes: who wants to know of what is changed here, and of what is refused.
        connecting: makes what makes logins of principals, where there are any.
    """
    changes = Changes() if changes is None else changes
    own_metrics = metrics if current.config.gateway.metrics.host is None else None

    def build() -> App:
        from gateway.rest.application import application
        from gateway.telemetry.activity import Activity

        app = application(
            current,
            upstreams,
            library,
            policy,
            agents,
            has_metrics=own_metrics is not None,
            restart=restart,
            count=count,
            is_draining=is_draining,
            lacks_scope=lacks_scope,
            changes=changes,
            activity=activity if activity is not None else Activity(),
            load=load,
            connecting=connecting() if connecting is not None else None,
        )
        return cast(App, app)  # Starlette's ASGI types are wider than ours

    public = PublicEndpoints(current, upstreams, library, policy, is_draining, own_metrics)
    return Shell(public, build, changes.on_refused)
