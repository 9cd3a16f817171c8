"""How the upstreams are, as far as the caller may know of them; and the order to start over."""

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

import anyio
import structlog
from fastapi import APIRouter, Path

from gateway.access.policy import Policy
from gateway.catalogue.library import CatalogueViews
from gateway.catalogue.pins import PinVerdict
from gateway.config.reload import Current
from gateway.errors import NotFound, tenths_up
from gateway.logins.connecting import Connecting
from gateway.protocol import Era
from gateway.request import ADMIN, Principal
from gateway.rest.caller import PRIVATE, Admin, Count, Reader, counted, failures
from gateway.rest.changes import Changes
from gateway.rest.masking import Redact, safe_url
from gateway.rest.models import (
    BreakerInfo,
    DefinitionChange,
    Definitions,
    Reloads,
    Restarting,
    ServerInfo,
    SuspiciousText,
    UpstreamInfo,
    Upstreams,
)
from gateway.rest.own_logins import OwnState, own_states
from gateway.upstream.breaker import Breaker
from gateway.upstream.link import TROUBLED, Status
from gateway.upstream.upstream import Upstream

log = structlog.stdlib.get_logger("gateway.rest")

LONGEST_SHOWN = 200
"""Characters of what an upstream says about itself."""
MOST_SHOWN = 100
"""Of an upstream's unapproved changes, and of its suspicious texts."""

REFUSED = "The configuration's last change is not valid; who has the scope `admin` can see why."

Name = Annotated[str, Path(description="The upstream's name.", examples=["time"])]


def upstream_routes(
    current: Current,
    upstreams: Mapping[str, Upstream],
    library: CatalogueViews,
    policy: Policy,
    redact: Redact,
    restart: Callable[[Upstream], None],
    count: Count,
    changes: Changes,
    connecting: Connecting | None = None,
) -> APIRouter:
    router = APIRouter(prefix="/upstreams", tags=["Upstreams"], **PRIVATE)

    def find(name: str, caller: Principal) -> Upstream:
        upstream = upstreams.get(name)
        if upstream is None or not library.sees(name, policy.grant(caller)):
            raise NotFound("There is no such upstream.")
        return upstream

    def describe(upstream: Upstream, caller: Principal, own: OwnState | None) -> UpstreamInfo:
        label = upstream.own_label(caller.root_id)
        selection = ((upstream.name, label),) if label and label in library.labels.get(upstream.name, ()) else ()
        offered = library.view(upstream.name, policy.grant(caller), selection)
        config, status = upstream.config, own.status if own is not None else upstream.status
        version = _version(upstream)
        reason = redact(status.reason) or None
        return UpstreamInfo(
            name=upstream.name,
            description=redact(config.description) if config.description else None,
            tags=config.tags,
            transport=config.type,
            url=redact(safe_url(config.url)) if config.url else None,
            required=config.required,
            lazy=config.lazy,
            state=status.state,
            reason=reason,
            connect=own.connect if own is not None else None,
            next_try=_seconds_until(status.next_try),
            successor=redact(_described(upstream.successor.status)) if upstream.successor is not None else None,
            last_error=reason if status.state in TROUBLED else None,
            era=Era.of(version) if version else None,
            protocol_version=version or None,
            server=ServerInfo(**_server_info(upstream, redact)),
            breaker=_breaker_info(upstream.breaker, redact),
            tools=len(offered.tools),
            resources=len(offered.resources),
            resource_templates=len(offered.templates),
            prompts=len(offered.prompts),
            in_flight=upstream.in_flight(),
            definitions=_definitions(config.pin, library.verdict(upstream.name), redact)
            if policy.grant(caller).sees_all_of(upstream.name)
            else None,
        )

    def reloads(caller: Principal) -> Reloads:
        """The reason may name servers that not everybody may know of."""
        reason = redact(current.refused) if ADMIN in caller.scopes else REFUSED
        return Reloads(
            loaded_at=current.loaded_at,
            refused=reason if current.refused else None,
            needs_restart=list(current.needs_restart),
        )

    @router.get("", summary="All upstreams", responses=failures(403))
    async def all_upstreams(caller: Reader) -> Upstreams:
        """Those that you may use, and how they are."""
        grant = policy.grant(caller)
        seen = [upstream for name, upstream in upstreams.items() if library.sees(name, grant)]
        own = await own_states(connecting, upstreams, caller)
        found = [describe(upstream, caller, own.get(upstream.name)) for upstream in seen]
        return Upstreams(upstreams=found, configuration=reloads(caller))

    @router.get("/{name}", summary="One upstream", responses=failures(403, 404))
    async def one_upstream(name: Name, caller: Reader) -> UpstreamInfo:
        upstream = find(name, caller)
        own = await own_states(connecting, {name: upstream}, caller)
        return describe(upstream, caller, own.get(name))

    @router.post(
        "/{name}/restart",
        status_code=202,
        summary="Connect anew",
        dependencies=[counted(count)],
        responses=failures(403, 404, 429),
    )
    async def restart_upstream(name: Name, caller: Admin) -> Restarting:
        """Close the connection (end the program) and open it again at once. Calls in flight fail. Needs the scope
        `admin`."""
        upstream = find(name, caller)
        changes.check()
        log.info("upstream restarted", upstream=name, by=caller.id)
        changes.on_change("upstream_restarted", caller, upstream=name)
        restart(upstream)
        return Restarting(name=name)

    return router


def _described(status: Status) -> str:
    return f"{status.state.value}: {status.reason}" if status.reason else status.state.value


def _version(upstream: Upstream) -> str:
    """The revision it speaks or, before it was reached, spoke when last seen; else empty."""
    if upstream.agreed is not None:
        return upstream.agreed.version
    return upstream.known.version if upstream.known is not None else ""


def _server_info(upstream: Upstream, redact: Redact) -> dict[str, str]:
    given: dict[str, Any] = {}
    if upstream.agreed is not None:
        given = upstream.agreed.server_info
    elif upstream.known is not None:
        given = upstream.known.server_info
    texts = {key: given.get(key) for key in ("name", "version", "title")}
    return {key: redact(text)[:LONGEST_SHOWN] for key, text in texts.items() if isinstance(text, str)}


def _definitions(pin: Literal["off", "warn", "block"], verdict: PinVerdict, redact: Redact) -> Definitions:
    changes = [
        DefinitionChange(
            kind=change.kind,
            name=redact(change.name)[:LONGEST_SHOWN],
            change=change.what,
            blocked=(change.kind, change.name) in verdict.blocked,
        )
        for change in verdict.changes[:MOST_SHOWN]
    ]
    suspicious = [
        SuspiciousText(
            kind=each.kind,
            name=redact(each.name)[:LONGEST_SHOWN],
            place=redact(each.place)[:LONGEST_SHOWN],
            what=each.what,
        )
        for each in verdict.suspicions[:MOST_SHOWN]
    ]
    return Definitions(pin=pin, unapproved=len(verdict.changes), changes=changes, suspicious=suspicious)


def _breaker_info(breaker: Breaker, redact: Redact) -> BreakerInfo:
    wait = breaker.retry_after(anyio.current_time())
    return BreakerInfo(
        state=breaker.state,
        reason=redact(breaker.reason) or None,
        next_try=None if wait is None else tenths_up(wait),
        openings=breaker.openings,
    )


def _seconds_until(moment: float | None) -> float | None:
    return None if moment is None else round(max(0.0, moment - anyio.current_time()), 1)
