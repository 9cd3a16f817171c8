"""The ASGI application: who is asking, may this Host and Origin, and which endpoint answers."""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any, Final
from urllib.parse import quote

import structlog

from gateway.access.metadata import WELL_KNOWN
from gateway.access.policy import Grant, Policy
from gateway.access.proxies import TrustedProxies
from gateway.errors import GatewayError, InternalError, InvalidRequest, MethodNotAllowed, NotFound
from gateway.frontend.anonymous import AnonymousQueue
from gateway.frontend.exchange import Receive, Send
from gateway.frontend.guard import Guard
from gateway.frontend.overload import Overload
from gateway.frontend.rest import reply_error
from gateway.frontend.rest.welcome import is_browser, reply_page, reply_sentence
from gateway.frontend.sse import LegacySse
from gateway.frontend.streamable import Http, Streamable, read_headers, reply_failure, reply_json
from gateway.request import Principal

log = structlog.stdlib.get_logger("gateway.frontend")

Scope = dict[str, Any]

App = Callable[[Scope, Receive, Send], Awaitable[None]]

PUBLIC: Final = ("/health", "/readyz", "/metrics", "/docs", "/openapi.json")
"""Paths that ask nobody who they are."""

NAMING: Final = ("/readyz", "/metrics")
"""Those of them that tell more to who may know."""
CREDENTIALS: Final = ("x-api-key", "x-agent-token", "authorization")

UNESCAPED: Final = "/:@!$&'()*+,;="
"""What needs no escape in a path, besides letters, digits and `-._~` (RFC 3986, 3.3)."""

CORS_HEADERS: Final = (
    (b"access-control-allow-methods", b"GET, POST, DELETE, OPTIONS"),
    (b"access-control-allow-headers", b"*, authorization"),
    (b"access-control-max-age", b"600"),
)


class HttpFront:
    """
    Args:
        authenticate: who sent a request, by its headers, the address it came from, and the view it asks for.
        has_view: whether there is such a view for somebody.
        rest: answers whatever is not MCP.
        resource_metadata: the document at the well-known address plus this suffix, or None (RFC 9728).
    """

    def __init__(
        self,
        guard: Guard,
        overload: Overload,
        authenticate: Callable[[Mapping[str, str], str, str | None], Awaitable[Principal]],
        policy: Policy,
        has_view: Callable[[str | None, Grant], Awaitable[bool]],
        streamable: Streamable,
        sse: LegacySse,
        rest: App,
        resource_metadata: Callable[[str], dict[str, Any] | None],
        proxies: TrustedProxies,
    ) -> None:
        self._guard = guard
        self._overload = overload
        self._authenticate = authenticate
        self._policy = policy
        self._has_view = has_view
        self._streamable = streamable
        self._sse = sse
        self._rest = rest
        self._resource_metadata = resource_metadata
        self._anonymous = AnonymousQueue()
        self._proxies = proxies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        try:
            headers = read_headers(scope["headers"])
            _check_spelling(scope)
            origin = headers.get("origin")
            self._guard.check(headers.get("host"), origin)
            if origin is not None:
                send = _with_cors(send, origin)
            if scope["method"] == "OPTIONS":
                await send({"type": "http.response.start", "status": 204, "headers": list(CORS_HEADERS)})
                await send({"type": "http.response.body", "body": b""})
                return
            await self._dispatch(scope, headers, receive, send)
        except GatewayError as error:
            await (reply_failure if _is_mcp(scope["path"].rstrip("/")) else reply_error)(send, error)
        except Exception:
            log.exception("request failed", path=scope["path"])
            await (reply_failure if _is_mcp(scope["path"].rstrip("/")) else reply_error)(send, InternalError())

    async def _dispatch(self, scope: Scope, headers: dict[str, str], receive: Receive, send: Send) -> None:
        method, path = scope["method"], scope["path"].rstrip("/")
        if path.startswith(WELL_KNOWN):
            await self._anonymous.admit()
            document = self._resource_metadata(path.removeprefix(WELL_KNOWN))
            if document is None:
                raise NotFound("No authorization server is configured here.")
            await reply_json(send, 200, document)
            return
        mcp = _is_mcp(path)
        if mcp and is_browser(method, headers):
            await reply_sentence(send)
            return
        if not path and method in ("GET", "HEAD"):
            await reply_page(send, headers.get("host", ""))
            return
        public = not mcp and (path in PUBLIC or path.startswith("/docs/"))
        if not public and method != "DELETE":  # who ends a session takes load away
            self._overload.check()
        if not mcp:
            if "unread" in scope:
                scope["unread"].belongs_to(None)
            if not public:
                scope["user"] = await self._authenticate(headers, self._origin(scope, headers), None)
            elif path in NAMING and any(name in headers for name in CREDENTIALS):
                with suppress(GatewayError):  # these answer whatever becomes of a key
                    scope["user"] = await self._authenticate(headers, self._origin(scope, headers), None)
            if "user" not in scope:
                await self._anonymous.admit()
            await self._rest(scope, receive, send)
            return
        view = path.removeprefix("/mcp/") if path.startswith("/mcp/") else None
        principal = await self._authenticate(headers, self._origin(scope, headers), view)
        scope["user"] = principal
        if "unread" in scope:
            scope["unread"].belongs_to(principal)
        grant = self._policy.grant(principal)
        http = Http(headers, receive, send, principal, view, grant, scope["query_string"], scope.get("abort", _nothing))
        if path == "/mcp" or view is not None:
            if not await self._has_view(view, grant):
                raise NotFound(f"No upstream named {view!r} here.")
            endpoints = {"POST": self._streamable.post, "GET": self._streamable.get, "DELETE": self._streamable.delete}
        elif path == "/sse":
            endpoints = {"GET": self._sse.get}
        else:
            endpoints = {"POST": self._sse.post}
        endpoint = endpoints.get(method)
        if endpoint is None:
            raise MethodNotAllowed(f"{method} is not possible here; use {' or '.join(endpoints)}.", endpoints)
        await endpoint(http)

    def _origin(self, scope: Scope, headers: Mapping[str, str]) -> str:
        """Where a request came from."""
        client = scope.get("client")
        return self._proxies.origin(client[0] if client else "", headers.get("x-forwarded-for"))


def _nothing() -> None:
    """Where there is no connection to abort."""


def _is_mcp(path: str) -> bool:
    return path in ("/mcp", "/sse", "/messages") or path.startswith("/mcp/")


def _check_spelling(scope: Scope) -> None:
    """
    Raises:
        InvalidRequest: the path is spelled so that whoever stands in front of us could take it for another
            (`/mcp%2fname`).
    """
    raw = scope.get("raw_path", b"")
    if b"%" in raw and quote(scope["path"], safe=UNESCAPED).lower() != raw.decode("latin-1").lower():
        raise InvalidRequest("The path has escapes that it does not need.")


def _with_cors(send: Send, origin: str) -> Send:
    """Let the page of an allowed origin read the response."""
    extra = [
        (b"access-control-allow-origin", origin.encode("latin-1")),
        (b"access-control-expose-headers", b"mcp-session-id, www-authenticate"),
        (b"vary", b"origin"),
    ]

    async def send_with_cors(event: dict[str, Any]) -> None:
        if event["type"] == "http.response.start":
            event = {**event, "headers": [*event["headers"], *extra]}
        await send(event)

    return send_with_cors
