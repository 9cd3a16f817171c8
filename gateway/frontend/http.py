"""The door of the HTTP front: who is asking, may this Host and Origin, and which endpoint answers."""

from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, Protocol
from urllib.parse import quote

import structlog

from gateway.access.known import Known
from gateway.access.metadata import WELL_KNOWN
from gateway.access.policy import Grant, Policy
from gateway.access.proxies import TrustedProxies
from gateway.errors import GatewayError, InternalError, InvalidRequest, MethodNotAllowed, NotFound
from gateway.frontend.anonymous import AnonymousQueue
from gateway.frontend.guard import Guard
from gateway.frontend.http_head import Fields, RequestHead
from gateway.frontend.http_request import HttpRequest
from gateway.frontend.overload import Overload
from gateway.frontend.post_head import Http, check_routing
from gateway.frontend.replies import reply_failure, reply_json
from gateway.frontend.sse import LegacySse
from gateway.frontend.streamable import Streamable
from gateway.frontend.welcome import is_browser, reply_page, reply_sentence
from gateway.request import Principal
from gateway.request_id import HEADER, accepted, make

log = structlog.stdlib.get_logger("gateway.frontend")

Work = Coroutine[Any, Any, object]
Rest = Callable[[HttpRequest, Principal | None], Awaitable[None]]
"""Answers a request that is not MCP, of somebody, or of who did not say who it is."""


class Pages(Protocol):
    """Pages for people, who say there who they are."""

    def serves(self, path: str) -> bool:
        """Whether there is such a page."""
        ...

    async def __call__(self, request: HttpRequest, address: str) -> None:
        """Answer a request that came from that address."""
        ...


Endpoint = Callable[[Http], Work | None]
"""Answers at once, or returns what does."""

Endpoints = Mapping[str, Endpoint]
"""By HTTP method."""

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
        recognise: who sent a request, by its headers, the address it came from, the view that it asks for, and what was
            recognised by the same before; None if that takes longer.
        authenticate: the same, by headers, address, and the view that it asks for.
        has_view: whether there is such a view for somebody, waiting for servers that have just started.
        has_view_now: the same without waiting; False may become True.
        rest: answers whatever is not MCP.
        fail_rest: answers for it where it raised an error.
        resource_metadata: the document at the well-known address plus this suffix, or None (RFC 9728).
        on_refused: told of each request that ended with an error before it became a call.
        published: by path, further documents that everybody may read.
        pages: what else there is for anybody.
    """

    def __init__(
        self,
        guard: Guard,
        overload: Overload,
        recognise: Callable[[Mapping[str, str], str, str | None, Known | None], Known | None],
        authenticate: Callable[[Mapping[str, str], str, str | None], Awaitable[Principal]],
        policy: Policy,
        has_view: Callable[[str | None, Grant], Awaitable[bool]],
        has_view_now: Callable[[str | None, Grant], bool],
        streamable: Streamable,
        sse: LegacySse,
        rest: Rest,
        fail_rest: Callable[[HttpRequest, BaseException], None],
        resource_metadata: Callable[[str], dict[str, Any] | None],
        proxies: TrustedProxies,
        on_refused: Callable[[HttpRequest, GatewayError], None] | None = None,
        published: Mapping[str, dict[str, Any]] | None = None,
        pages: Pages | None = None,
    ) -> None:
        self._pages = pages
        self._published = published or {}
        self._guard = guard
        self._overload = overload
        self._recognise = recognise
        self._authenticate = authenticate
        self._policy = policy
        self._has_view = has_view
        self._has_view_now = has_view_now
        self._mcp: Endpoints = {
            "POST": streamable.post,
            "GET": streamable.get,
            "DELETE": streamable.delete,
        }
        self._legacy: Mapping[str, Endpoints] = {"/sse": {"GET": sse.get}, "/messages": {"POST": sse.post}}
        self._rest = rest
        self._fail_rest = fail_rest
        self._resource_metadata = resource_metadata
        self._anonymous = AnonymousQueue()
        self._proxies = proxies
        self._on_refused = on_refused

    def __call__(self, request: HttpRequest) -> Work | None:
        """Answer at once, or return what does.

        Raises:
            GatewayError: see `fail`.
        """
        head = request.head
        request.id = accepted(given) if (given := head.headers.get(HEADER)) is not None else make()
        route: _Route | None = head.route
        if route is None:
            route = head.route = self._route(head)
        request.extra_headers = route.extra_headers
        if not route.is_mcp:
            return self._elsewhere(request, route.path)
        if self._overload.reason is not None and head.method != "DELETE":  # who ends a session takes load away
            self._overload.check()
        if route.address is None:
            route.address = self._origin(request)
        route.known = known = self._recognise(head.headers, route.address, route.view, route.known)
        if known is not None:
            return self._admit(request, route, known.principal)
        return self._admit_later(request, route, route.address)

    def _route(self, head: RequestHead) -> "_Route":
        """What a request is here for, by its head.

        Raises:
            GatewayError: it is not served, whoever sent it.
        """
        check_routing(head)
        _check_spelling(head)
        origin = head.headers.get("origin")
        self._guard.check(head.headers.get("host"), origin)
        path = head.path.rstrip("/")
        is_mcp = serves_mcp(path) and head.method != "OPTIONS" and not is_browser(head.method, head.headers)
        view = path.removeprefix("/mcp/") if path.startswith("/mcp/") else None
        endpoint = _endpoint(self._legacy.get(path, self._mcp), head.method)
        return _Route(path, is_mcp, view, endpoint, _cors(origin) if origin is not None else ())

    def fail(self, request: HttpRequest, error: BaseException) -> None:
        """Answer a request that raised an error."""
        if self._on_refused is not None and isinstance(error, GatewayError):
            self._on_refused(request, error)
        if request.started or not serves_mcp(request.path.rstrip("/")):
            self._fail_rest(request, error)
            return
        if not isinstance(error, GatewayError):
            log.error("request failed", path=request.path, exc_info=error)
            error = InternalError()
        reply_failure(request, error)

    # --- MCP --------------------------------------------------------------------------------------------------------

    async def _admit_later(self, request: HttpRequest, route: "_Route", address: str) -> None:
        principal = await self._authenticate(request.headers, address, route.view)
        if (work := self._admit(request, route, principal)) is not None:
            await work

    def _admit(self, request: HttpRequest, route: "_Route", principal: Principal) -> Work | None:
        request.user = principal
        request.belongs_to(principal)
        view = route.view
        if view is None and principal.profiles is not None and len(principal.profiles) == 1:
            (view,) = principal.profiles  # who sees one profile and nothing besides need not say so
        http = Http(request, principal, view, request.head.headers)
        if view is not None and not self._has_view_now(view, self._policy.grant(principal, view)):
            return self._serve_view(http, route, view)
        return route.endpoint(http)

    async def _serve_view(self, http: Http, route: "_Route", view: str) -> None:
        if not await self._has_view(view, self._policy.grant(http.principal, view)):
            raise NotFound(f"No server or profile named {view!r} here.")
        if (work := route.endpoint(http)) is not None:
            await work

    # --- All else ---------------------------------------------------------------------------------------------------

    def _elsewhere(self, request: HttpRequest, path: str) -> Work | None:
        if request.method == "OPTIONS":
            request.reply(204, headers=CORS_HEADERS)
        elif serves_mcp(path):
            reply_sentence(request)
        else:
            return self._rest_of(request, path)
        return None

    async def _rest_of(self, request: HttpRequest, path: str) -> None:
        if path.startswith(WELL_KNOWN):
            await self._anonymous.admit()
            document = self._resource_metadata(path.removeprefix(WELL_KNOWN))
            if document is None:
                raise NotFound("No authorization server is configured here.")
            reply_json(request, 200, document)
            return
        if path in self._published and request.method in ("GET", "HEAD"):
            await self._anonymous.admit()
            reply_json(request, 200, self._published[path])
            return
        if not path and request.method in ("GET", "HEAD"):
            reply_page(request)
            return
        request.belongs_to(None)
        if self._pages is not None and self._pages.serves(path):
            await self._anonymous.admit()
            await self._pages(request, self._origin(request))
            return
        user = await self._user(request, path)
        if user is None:
            await self._anonymous.admit()
        request.user = user
        await self._rest(request, user)

    async def _user(self, request: HttpRequest, path: str) -> Principal | None:
        """Who asks; None for who need not say it."""
        headers = request.headers
        if path not in PUBLIC and not path.startswith("/docs/"):
            if request.method != "DELETE":
                self._overload.check()
            return await self._authenticate(headers, self._origin(request), None)
        if path in NAMING and any(name in headers for name in CREDENTIALS):
            with suppress(GatewayError):  # these answer whatever becomes of a key
                return await self._authenticate(headers, self._origin(request), None)
        return None

    def _origin(self, request: HttpRequest) -> str:
        """Where a request came from."""
        return self._proxies.origin(request.address, request.headers.get("x-forwarded-for"))


@dataclass(slots=True)
class _Route:
    """What requests with one head are here for."""

    path: str
    is_mcp: bool
    view: str | None
    endpoint: Endpoint
    """What answers them."""
    extra_headers: Fields
    address: str | None = None
    """Where they come from, once that was asked."""
    known: Known | None = None
    """Who sent the last of them."""


def _endpoint(endpoints: Endpoints, method: str) -> Endpoint:
    """What answers a path, of what does so by HTTP method."""

    def refuse(http: Http) -> Work | None:
        raise MethodNotAllowed(f"{method} is not possible here; use {' or '.join(endpoints)}.", endpoints)

    return endpoints.get(method, refuse)


def serves_mcp(path: str) -> bool:
    """Whether MCP is served at a path without a slash at its end."""
    return path in ("/mcp", "/sse", "/messages") or path.startswith("/mcp/")


def _check_spelling(head: RequestHead) -> None:
    """
    Raises:
        InvalidRequest: the path is spelled so that whoever stands in front of us could take it for another
            (`/mcp%2fname`).
    """
    raw = head.raw_path
    if b"%" in raw and quote(head.path, safe=UNESCAPED).lower() != raw.decode("latin-1").lower():
        raise InvalidRequest("The path has escapes that it does not need.")


def _cors(origin: str) -> Fields:
    """Let the page of an allowed origin read the response."""
    return (
        ("access-control-allow-origin", origin),
        ("access-control-expose-headers", "mcp-session-id, www-authenticate, x-request-id"),
        ("vary", "origin"),
    )
