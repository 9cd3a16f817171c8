"""The public endpoints: is it alive, is it ready, and the numbers. Who says who they are is told of which upstreams.

Needs no FastAPI: of most gateways nobody ever asks anything else over HTTP. `health.py` describes them for `/docs`.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any

from gateway import __version__, jsonrpc
from gateway.access.policy import Policy
from gateway.catalogue.library import CatalogueViews
from gateway.config.reload import Current
from gateway.frontend.http_request import HttpRequest
from gateway.request import Principal
from gateway.telemetry.metrics import Metrics
from gateway.upstream.upstream import Upstream


class PublicEndpoints:
    """
    Args:
        upstreams: those that run now; looked at on every request.
        metrics: None when they are served elsewhere.
    """

    def __init__(
        self,
        current: Current,
        upstreams: Mapping[str, Upstream],
        library: CatalogueViews,
        policy: Policy,
        is_draining: Callable[[], bool],
        metrics: Metrics | None,
    ) -> None:
        self._current = current
        self._upstreams = upstreams
        self._library = library
        self._policy = policy
        self._is_draining = is_draining
        self._metrics = metrics
        self._started = time.monotonic()

    async def answered(self, request: HttpRequest, user: Principal | None) -> bool:
        """Answer a request if it reads one of these; says whether it did."""
        if request.method not in ("GET", "HEAD"):
            return False
        if request.path == "/health":
            request.reply(200, jsonrpc.dumps(self._health()))
        elif request.path == "/readyz":
            ready = self._ready(user)
            request.reply(200 if ready["status"] == "ready" else 503, jsonrpc.dumps(ready))
        elif request.path == "/metrics" and self._metrics is not None:
            names = self._is_public() or (user is not None and self._policy.grant(user).unrestricted)
            text, kind = await self._metrics.render(names=names, accept=request.headers.get("accept", ""))
            request.reply(200, text, [("vary", "accept")], kind)
        else:
            return False
        return True

    def _health(self) -> dict[str, Any]:
        return {"status": "ok", "version": __version__, "uptime": round(time.monotonic() - self._started, 3)}

    def _ready(self, caller: Principal | None) -> dict[str, Any]:
        upstreams = self._upstreams
        missing = any(upstream.config.required and not upstream.is_ready for upstream in upstreams.values())
        return {
            "status": "draining" if self._is_draining() else "not ready" if missing else "ready",
            "configuration": "refused" if self._current.refused else "current",
            "upstreams": {
                name: {"state": upstream.status.state.value, "required": upstream.config.required}
                for name, upstream in upstreams.items()
                if self._sees(caller, name)
            },
        }

    def _is_public(self) -> bool:
        """Whether everybody may know the upstreams' names."""
        settings = self._current.config.gateway
        return settings.public_names or not settings.auth.enabled

    def _sees(self, caller: Principal | None, upstream: str) -> bool:
        return self._is_public() or (caller is not None and self._library.sees(upstream, self._policy.grant(caller)))
