"""The door of the HTTP front: who is asking, may this Host and Origin, and which endpoint answers."""

from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import suppress
from typing import Any, Final
from urllib.parse import quote

import structlog

from gateway.access.metadata import WELL_KNOWN
from gateway.access.policy import Grant, Policy
from gateway.access.proxies import TrustedProxies
from gateway.errors import GatewayError, InternalError, InvalidRequest, MethodNotAllowed, NotFound
from gateway.frontend.anonymous import AnonymousQueue
from gateway.frontend.guard import Guard
from gateway.frontend.http_head import Fields
from gateway.frontend.http_request import HttpRequest
from gateway.frontend.overload import Overload
from gateway.frontend.sse import LegacySse
from gateway.frontend.streamable import Http, Streamable, check_routing, reply_failure, reply_json
from gateway.frontend.welcome import is_browser, reply_page, reply_sentence
from gateway.request import Principal
from gateway.request_id import HEADER, accepted

log = structlog.stdlib.get_logger("gateway.frontend")

Work = Coroutine[Any, Any, object]
Rest = Callable[[HttpRequest, Principal | None], Awaitable[None]]
"""Answers a request that is not MCP, of somebody, or of who did not say who it is."""
Endpoints = Mapping[str, Callable[[Http], Work | None]]
"""What answers, by HTTP method."""

PUBLIC: Final = ("/health", "/readyz", "/metrics", "/docs", "/openapi.json")
"""Paths that ask nobody who they are."""

NAMING: Final = ("/readyz", "/metrics")
"""Those of them that tell more to who may know."""
CREDENTIALS: Final = ("x-api-key", "x-agent-token", "authorization")

UNESCAPED: Final = "/:@!$&'()*+,;="
"""What needs no escape in a path, besides letters, digits and `-._~` (RFC 3986, 3.3)."""

CORS_HEADERS: Final = (
    ("access-control-allow-methods", "GET, POST, DELETE, OPTIONS"),
    ("access-control-allow-headers", "*, authorization"),
    ("access-control-max-age", "600"),
)


class HttpFront:
    """
    Args:
        authenticate: who sent a request, by its headers, the address it came from, and the view it asks for.
        has_view: whether there is such a view for somebody.
        rest: answers whatever is not MCP.
        fail_rest: answers for it where it raised an error.
        resource_metadata: the document at the well-known address plus this suffix, or None (RFC 9728).
    """

    def __init__(
        self,
        guard: Guard,
        overload: Overload,
        authenticate: Callable[[Mapping[str, str], str, str | None], Principal | Awaitable[Principal]],
        policy: Policy,
        has_view: Callable[[str | None, Grant], Awaitable[bool]],
        streamable: Streamable,
        sse: LegacySse,
        rest: Rest,
        fail_rest: Callable[[HttpRequest, BaseException], None],
        resource_metadata: Callable[[str], dict[str, Any] | None],
        proxies: TrustedProxies,
    ) -> None:
        self._guard = guard
        self._overload = overload
        self._authenticate = authenticate
        self._policy = policy
        self._has_view = has_view
        self._mcp: Endpoints = {"POST": streamable.post, "GET": streamable.get, "DELETE": streamable.delete}
        self._legacy: Mapping[str, Endpoints] = {"/sse": {"GET": sse.get}, "/messages": {"POST": sse.post}}
        self._rest = rest
        self._fail_rest = fail_rest
        self._resource_metadata = resource_metadata
        self._anonymous = AnonymousQueue()
        self._proxies = proxies

    def __call__(self, request: HttpRequest) -> Work | None:
        """Answer at once, or return what does.

        Raises:
            GatewayError: see `fail`.
        """
        request.id = accepted(request.headers.get(HEADER))
        request.also = ((HEADER, request.id),)
        check_routing(request)
        _check_spelling(request)
        origin = request.headers.get("origin")
        self._guard.check(request.headers.get("host"), origin)
        if origin is not None:
            request.also = (*request.also, *_cors(origin))
        if request.method == "OPTIONS":
            request.reply(204, headers=CORS_HEADERS)
            return None
        path = request.path.rstrip("/")
        if not _is_mcp(path):
            return self._elsewhere(request, path)
        if is_browser(request.method, request.headers):
            reply_sentence(request)
            return None
        if request.method != "DELETE":  # who ends a session takes load away
            self._overload.check()
        view = path.removeprefix("/mcp/") if path.startswith("/mcp/") else None
        principal = self._authenticate(request.headers, self._origin(request), view)
        if isinstance(principal, Principal):
            return self._admit(request, path, view, principal)
        return self._admit_later(request, path, view, principal)

    def fail(self, request: HttpRequest, error: BaseException) -> None:
        """Answer a request that raised an error."""
        if request.started or not _is_mcp(request.path.rstrip("/")):
            self._fail_rest(request, error)
            return
        if not isinstance(error, GatewayError):
            log.error("request failed", path=request.path, exc_info=error)
            error = InternalError()
        reply_failure(request, error)

    # --- MCP --------------------------------------------------------------------------------------------------------

    async def _admit_later(
        self, request: HttpRequest, path: str, view: str | None, principal: Awaitable[Principal]
    ) -> None:
        work = self._admit(request, path, view, await principal)
        if work is not None:
            await work

    def _admit(self, request: HttpRequest, path: str, view: str | None, principal: Principal) -> Work | None:
        request.belongs_to(principal)
        grant = self._policy.grant(principal)
        http = Http(request, principal, view)
        if view is not None:
            return self._serve_view(http, view, grant)
        return self._serve(http, self._legacy.get(path, self._mcp))

    async def _serve_view(self, http: Http, view: str, grant: Grant) -> None:
        if not await self._has_view(view, grant):
            raise NotFound(f"No upstream named {view!r} here.")
        work = self._serve(http, self._mcp)
        if work is not None:
            await work

    def _serve(self, http: Http, endpoints: Endpoints) -> Work | None:
        method = http.request.method
        endpoint = endpoints.get(method)
        if endpoint is None:
            raise MethodNotAllowed(f"{method} is not possible here; use {' or '.join(endpoints)}.", endpoints)
        return endpoint(http)

    # --- All else ---------------------------------------------------------------------------------------------------

    async def _elsewhere(self, request: HttpRequest, path: str) -> None:
        if path.startswith(WELL_KNOWN):
            await self._anonymous.admit()
            document = self._resource_metadata(path.removeprefix(WELL_KNOWN))
            if document is None:
                raise NotFound("No authorization server is configured here.")
            reply_json(request, 200, document)
            return
        if not path and request.method in ("GET", "HEAD"):
            reply_page(request)
            return
        request.belongs_to(None)
        user = await self._user(request, path)
        if user is None:
            await self._anonymous.admit()
        await self._rest(request, user)

    async def _user(self, request: HttpRequest, path: str) -> Principal | None:
        """Who asks; None for who need not say it."""
        headers = request.headers
        if path not in PUBLIC and not path.startswith("/docs/"):
            if request.method != "DELETE":
                self._overload.check()
            return await _there(self._authenticate(headers, self._origin(request), None))
        if path in NAMING and any(name in headers for name in CREDENTIALS):
            with suppress(GatewayError):  # these answer whatever becomes of a key
                return await _there(self._authenticate(headers, self._origin(request), None))
        return None

    def _origin(self, request: HttpRequest) -> str:
        """Where a request came from."""
        return self._proxies.origin(request.address, request.headers.get("x-forwarded-for"))


async def _there(principal: Principal | Awaitable[Principal]) -> Principal:
    return principal if isinstance(principal, Principal) else await principal


def _is_mcp(path: str) -> bool:
    return path in ("/mcp", "/sse", "/messages") or path.startswith("/mcp/")


def _check_spelling(request: HttpRequest) -> None:
    """
    Raises:
        InvalidRequest: the path is spelled so that whoever stands in front of us could take it for another
            (`/mcp%2fname`).
    """
    raw = request.raw_path
    if b"%" in raw and quote(request.path, safe=UNESCAPED).lower() != raw.decode("latin-1").lower():
        raise InvalidRequest("The path has escapes that it does not need.")


def _cors(origin: str) -> Fields:
    """Let the page of an allowed origin read the response."""
    return (
        ("access-control-allow-origin", origin),
        ("access-control-expose-headers", "mcp-session-id, www-authenticate, x-request-id"),
        ("vary", "origin"),
    )
