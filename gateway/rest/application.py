"""The FastAPI application: its routes, how errors are answered, and how it describes itself."""

from collections.abc import Callable, Collection, Mapping
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.routing import compile_path

from gateway import __version__
from gateway.access.agent_tokens import AgentTokens
from gateway.access.policy import Policy
from gateway.catalogue.library import CatalogueViews
from gateway.config.reload import Current
from gateway.errors import GatewayError, InsufficientScope, InternalError
from gateway.logins.connecting import Connecting
from gateway.request import Principal
from gateway.rest.agents import agent_routes
from gateway.rest.caller import Count
from gateway.rest.changes import Changes
from gateway.rest.connections import connection_routes
from gateway.rest.docs import docs_routes
from gateway.rest.failures import body_of, code_of, status_of
from gateway.rest.health import health_routes
from gateway.rest.info import info_routes
from gateway.rest.log_level import log_level_routes
from gateway.rest.masking import redactor
from gateway.rest.status import status_routes
from gateway.rest.upstreams import upstream_routes
from gateway.telemetry.activity import Activity
from gateway.upstream.upstream import Upstream

DESCRIPTION: Final = """\
What the gateway tells about itself and its upstreams, and where agents get tokens.

MCP itself is served at `/mcp` (all upstreams) and `/mcp/{upstream}` (one of them), and at `/sse` for old clients.
"""


def application(
    current: Current,
    upstreams: Mapping[str, Upstream],
    library: CatalogueViews,
    policy: Policy,
    agents: AgentTokens,
    *,
    has_metrics: bool,
    restart: Callable[[Upstream], None],
    count: Count,
    is_draining: Callable[[], bool],
    lacks_scope: Callable[[Principal, Collection[str]], GatewayError],
    changes: Changes,
    activity: Activity,
    load: Callable[[], tuple[int, int]],
    connecting: Connecting | None = None,
) -> FastAPI:
    """See `rest_app`.

    Args:
        has_metrics: whether `/metrics` is served here.
    """

    async def on_insufficient_scope(request: Request, error: Any) -> JSONResponse:
        return await _on_gateway_error(request, lacks_scope(request.scope["user"], error.needed))

    app = FastAPI(
        title="mcp-gateway",
        version=__version__,
        description=DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        generate_unique_id_function=_operation_id,
        telemetry={"tracing": False, "metrics": False, "logs": False},  # the gateway has its own
        exception_handlers={
            GatewayError: _on_gateway_error,
            InsufficientScope: on_insufficient_scope,
            HTTPException: _on_http_exception,
            RequestValidationError: _on_invalid,
            Exception: _on_defect,
        },
    )
    redact = redactor(current)
    app.include_router(health_routes(metrics=has_metrics))
    app.include_router(agent_routes(agents, count, changes))
    app.include_router(
        upstream_routes(current, upstreams, library, policy, redact, restart, count, changes, connecting)
    )
    app.include_router(
        status_routes(current, upstreams, library, policy, redact, activity, load, is_draining, connecting)
    )
    if connecting is not None:
        app.include_router(connection_routes(connecting, redact, count))
    app.include_router(info_routes(current, redact))
    app.include_router(log_level_routes(current, count, changes))
    app.include_router(docs_routes())
    _describe_as_it_is(app)
    return app


def _operation_id(route: APIRoute) -> str:
    return route.name


def _describe_as_it_is(app: FastAPI) -> None:
    """FastAPI says that whatever takes a parameter answers 422; here that is 400, where it can happen at all."""
    schema = app.openapi()
    for path in schema["paths"].values():
        for operation in path.values():
            operation["responses"].pop("422", None)
    for name in ("HTTPValidationError", "ValidationError"):
        schema["components"]["schemas"].pop(name, None)


# --- Errors ---------------------------------------------------------------------------------------------------------


async def _on_gateway_error(request: Request, error: Any) -> JSONResponse:
    return JSONResponse(body_of(code_of(error), error.message), status_of(error), error.headers)


async def _on_http_exception(request: Request, error: Any) -> JSONResponse:
    """What the router says: no such path, or not with that method."""
    status = HTTPStatus(error.status_code)
    headers = dict(error.headers or {})
    message = error.detail
    if status is HTTPStatus.NOT_FOUND:
        message = "Nothing here. /docs shows what there is; MCP is served at /mcp."
    elif status is HTTPStatus.METHOD_NOT_ALLOWED:
        one = {key.lower(): value for key, value in headers.items()}.get("allow", "")
        allowed = (_allowed(request) or one).replace("GET", "GET, HEAD")
        headers = {"allow": allowed}
        message = f"{request.method} is not possible here; use {allowed}."
    return JSONResponse(body_of(status.phrase.lower().replace(" ", "_"), message), status, headers)


def _allowed(request: Request) -> str:
    """The methods that a path has, as far as it is described; its first route knows only of its own."""
    for path, operations in request.app.openapi()["paths"].items():
        if compile_path(path)[0].match(request.url.path):
            return ", ".join(sorted(method.upper() for method in operations))
    return ""


async def _on_invalid(request: Request, error: Any) -> JSONResponse:
    fields = [{"field": _place(each["loc"]), "message": each["msg"]} for each in error.errors()]
    message = "; ".join(f"{each['field']}: {each['message']}" for each in fields)
    return JSONResponse(body_of("invalid_params", message, fields), 400)


def _place(place: tuple[str | int, ...]) -> str:
    """`("body", "requested_scopes", 0)` → `requested_scopes.0`; the body itself is `body`."""
    return ".".join(str(step) for step in place[1:]) or str(place[0])


async def _on_defect(request: Request, error: Exception) -> JSONResponse:
    """Answered here, and raised on by Starlette to be logged."""
    defect = InternalError()
    return JSONResponse(body_of(code_of(defect), defect.message), defect.status)
