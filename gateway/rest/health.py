"""How `/docs` describes the public endpoints. They are answered in `public.py`, and never get here."""

from fastapi import APIRouter, Response

from gateway.rest.models import HealthReport, Ready


def health_routes(*, metrics: bool) -> APIRouter:
    """
    Args:
        metrics: whether they are served here.
    """
    router = APIRouter(tags=["HealthReport"])

    @router.get("/health", summary="Is it alive?", response_model=HealthReport)
    async def health() -> None:
        """Says `ok` as long as the gateway can say anything."""

    @router.get(
        "/readyz",
        summary="Should it get traffic?",
        response_model=Ready,
        responses={503: {"model": Ready, "description": "Not ready"}},
    )
    async def readyz() -> None:
        """Ready when every `required` upstream is, and until the gateway begins to stop. Without required upstreams it
        is ready as soon as it serves."""

    if metrics:
        forms = {kind: {"schema": {"type": "string"}} for kind in ("text/plain", "application/openmetrics-text")}
        text = {"content": forms, "description": "Prometheus' text format, or OpenMetrics for who asks for it"}

        @router.get("/metrics", summary="Prometheus metrics", response_class=Response, responses={200: text})
        async def metrics_text() -> None:
            """Requests, errors and latency by method, upstream and outcome; states of upstreams; limits' decisions. For
            who may not use every upstream, over all of them together."""

    return router
