"""`/status`: what goes on right now, as far as the caller may know of it. For `mcp-gateway status` and `top`."""

import time
from collections.abc import Callable, Mapping, Sequence

from fastapi import APIRouter

from gateway import __version__
from gateway.access.policy import Policy
from gateway.catalogue.library import CatalogueViews
from gateway.config.reload import Current
from gateway.logins.connecting import Connecting
from gateway.request import ADMIN, Principal
from gateway.rest.caller import PRIVATE, Reader, failures
from gateway.rest.masking import Redact
from gateway.rest.own_logins import OwnState, own_states
from gateway.rest.status_models import CallerStatus, Numbers, StatusReport, TargetStatus, UpstreamStatus
from gateway.telemetry.activity import Activity, ActivityReport, Sum
from gateway.telemetry.elsewhere import Elsewhere
from gateway.upstream.upstream import Upstream

MOST_SHOWN = 100
"""Of tools and the like, and of callers."""
LONGEST_SHOWN = 200
"""Characters of a name."""


def status_routes(
    current: Current,
    upstreams: Mapping[str, Upstream],
    library: CatalogueViews,
    policy: Policy,
    redact: Redact,
    activity: Activity,
    load: Callable[[], tuple[int, int]],
    is_draining: Callable[[], bool],
    connecting: Connecting | None = None,
) -> APIRouter:
    """
    Args:
        load: how many sessions are open, and how many requests in flight.
    """
    router = APIRouter(tags=["Upstreams"], **PRIVATE)
    started = time.monotonic()

    def describe(
        name: str,
        upstream: Upstream,
        own: OwnState | None,
        seen: ActivityReport,
        elsewhere: Sequence[Elsewhere],
        *,
        all: bool,
    ) -> UpstreamStatus:
        status, health = own.status if own is not None else upstream.status, upstream.health()
        in_flight, queued = zip(*(each.upstreams.get(name, (0, 0)) for each in (Elsewhere(), *elsewhere)), strict=True)
        return UpstreamStatus(
            **_numbers(seen.by_upstream.get(name, Sum()), seen),
            name=name,
            state=status.state,
            reason=redact(status.reason)[:LONGEST_SHOWN] or None,
            connect=own.connect if own is not None else None,
            breaker=upstream.breaker.state,
            in_flight=upstream.in_flight() + sum(in_flight),
            queued=health.queued + sum(queued) if all else None,
        )

    @router.get("/status", summary="What goes on right now?", responses=failures(403))
    async def status(caller: Reader) -> StatusReport:
        """Rates and latencies of the last minute, by upstream, by tool and by caller. Your own calls and those of your
        agents; with the scope `admin`, everybody's calls of the upstreams that you may use."""
        grant, all, now = policy.grant(caller), ADMIN in caller.scopes, time.perf_counter()

        def sees(principal: Principal, upstream: str) -> bool:
            if _is_own(principal, caller):
                return True
            return all and (not upstream or library.sees(upstream, grant))

        elsewhere = await activity.gather() if activity.gather is not None else ()
        seen = activity.read(now, sees, [slice for each in elsewhere for slice in each.slices])
        own = await own_states(connecting, upstreams, caller)
        sessions, in_flight = load()
        sessions += sum(each.sessions for each in elsewhere)
        in_flight += sum(each.in_flight for each in elsewhere)
        busiest = sorted(seen.by_target.items(), key=lambda item: -item[1].seconds)[:MOST_SHOWN]
        people = sorted(seen.by_principal.values(), key=lambda each: -each[1].count)[:MOST_SHOWN]
        return StatusReport(
            **_numbers(seen.all, seen),
            version=__version__,
            environment=current.config.gateway.environment,
            uptime=round(time.monotonic() - started, 1),
            draining=is_draining(),
            configuration="refused" if current.refused else "current",
            scope="all" if all else "own",
            window=round(seen.seconds, 1),
            sessions=sessions if all else None,
            in_flight=in_flight if all else None,
            upstreams=[
                describe(name, upstream, own.get(name), seen, elsewhere, all=all)
                for name, upstream in upstreams.items()
                if library.sees(name, grant)
            ],
            calls=[
                TargetStatus(**_numbers(sum, seen), upstream=upstream or None, target=redact(target)[:LONGEST_SHOWN])
                for (upstream, target), sum in busiest
            ],
            callers=[
                CallerStatus(
                    **_numbers(sum, seen),
                    principal=principal.id,
                    owner=principal.owner,
                    agent_name=principal.agent_name or None,
                    most=redact(most)[:LONGEST_SHOWN],
                )
                for principal, sum, most in people
            ],
        )

    return router


def _is_own(principal: Principal, caller: Principal) -> bool:
    return principal.id == caller.id or any(id == caller.id for id, _ in principal.ancestors)


def _numbers(sum: Sum, seen: ActivityReport) -> Numbers:
    return {
        "requests": sum.count,
        "failed": sum.failed,
        "per_second": round(sum.count / seen.seconds, 3),
        "per_second_now": round(sum.recent / seen.recent_seconds, 3),
        "p50_ms": round(sum.quantile(0.5) * 1000, 2),
        "p95_ms": round(sum.quantile(0.95) * 1000, 2),
        "max_ms": round(sum.longest * 1000, 2),
    }
