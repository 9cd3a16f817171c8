"""The public endpoints: is it alive, is it ready, and the numbers. Who says who they are is told of which upstreams."""

import time
from collections.abc import Callable, Mapping

from fastapi import APIRouter, Request, Response

from gateway import __version__
from gateway.access.policy import Policy
from gateway.catalogue.library import CatalogueViews
from gateway.config.reload import Current
from gateway.request import Principal
from gateway.rest.caller import Anybody
from gateway.rest.models import HealthReport, Readiness, Ready
from gateway.telemetry.metrics import Metrics
from gateway.upstream.upstream import Upstream


def health_routes(
    current: Current,
    upstreams: Mapping[str, Upstream],
    library: CatalogueViews,
    policy: Policy,
    is_draining: Callable[[], bool],
    metrics: Metrics | None,
) -> APIRouter:
    """
    Args:
        metrics: None when they are served elsewhere.
    """
    router = APIRouter(tags=["HealthReport"])
    started = time.monotonic()

    def is_public() -> bool:
        """Whether everybody may know the upstreams' names."""
        settings = current.config.gateway
        return settings.public_names or not settings.auth.enabled

    def sees(caller: Principal | None, upstream: str) -> bool:
        return is_public() or (caller is not None and library.sees(upstream, policy.grant(caller)))

    @router.get("/health", summary="Is it alive?")
    async def health() -> HealthReport:
        """Says `ok` as long as the gateway can say anything."""
        return HealthReport(status="ok", version=__version__, uptime=round(time.monotonic() - started, 3))

    @router.get(
        "/readyz", summary="Should it get traffic?", responses={503: {"model": Ready, "description": "Not ready"}}
    )
    async def readyz(response: Response, caller: Anybody) -> Ready:
        """Ready when every `required` upstream is, and until the gateway begins to stop. Without required upstreams it
        is ready as soon as it serves."""
        missing = any(upstream.config.required and not upstream.is_ready for upstream in upstreams.values())
        status = "draining" if is_draining() else "not ready" if missing else "ready"
        response.status_code = 200 if status == "ready" else 503
        states = {
            name: Readiness(state=upstream.status.state, required=upstream.config.required)
            for name, upstream in upstreams.items()
            if sees(caller, name)
        }
        return Ready(status=status, configuration="refused" if current.refused else "current", upstreams=states)

    if metrics is not None:
        served = metrics  # narrowed for the function below
        forms = {kind: {"schema": {"type": "string"}} for kind in ("text/plain", "application/openmetrics-text")}
        text = {"content": forms, "description": "Prometheus' text format, or OpenMetrics for who asks for it"}

        @router.get("/metrics", summary="Prometheus metrics", response_class=Response, responses={200: text})
        async def metrics_text(request: Request, caller: Anybody) -> Response:
            """Requests, errors and latency by method, upstream and outcome; states of upstreams; limits' decisions. For
            who may not use every upstream, over all of them together."""
            names = is_public() or (caller is not None and policy.grant(caller).unrestricted)
            text, kind = await served.render(names=names, accept=request.headers.get("accept", ""))
            return Response(text, headers={"content-type": kind, "vary": "accept"})

    return router
