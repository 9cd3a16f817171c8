"""`/config/info`: what the gateway runs with."""

from collections.abc import Iterator
from typing import Any, Literal

from fastapi import APIRouter

from gateway import __version__
from gateway.config.models import AuthSettings, Config
from gateway.config.reload import Current
from gateway.request import ADMIN
from gateway.rest.caller import PRIVATE, Caller
from gateway.rest.masking import Redact, shown
from gateway.rest.models import ConfigInfo, RequestLimits

Way = Literal["api_key", "agent_token", "oauth"]


def info_routes(current: Current, redact: Redact) -> APIRouter:
    router = APIRouter(prefix="/config", tags=["Configuration"], **PRIVATE)

    @router.get("/info", summary="What does it run with?")
    async def info(caller: Caller) -> ConfigInfo:
        """The effective configuration, secrets masked, with the scope `admin`; else what a client has to know."""
        config = current.config
        settings = config.gateway
        return ConfigInfo(
            version=__version__,
            environment=settings.environment,
            auth_methods=list(_ways(settings.auth)),
            limits=RequestLimits(
                requests_per_minute=settings.rate_limit.default_rpm,
                burst=settings.rate_limit.burst_allowance,
                max_request_bytes=settings.max_request_bytes,
                max_sessions=settings.max_sessions,
                max_sessions_per_principal=settings.max_sessions_per_principal,
            ),
            configuration=_whole(config, redact) if ADMIN in caller.scopes else None,
        )

    return router


def _ways(auth: AuthSettings) -> Iterator[Way]:
    if auth.enabled:
        if auth.api_keys_file is not None or auth.oauth is None:  # without a file there are the keys for developers
            yield "api_key"
        yield "agent_token"
        if auth.oauth is not None:
            yield "oauth"


def _whole(config: Config, redact: Redact) -> dict[str, Any]:
    parts = {"files": config.files, "gateway": config.gateway, "servers": config.servers}
    return shown(parts, redact)
