"""What stands around the FastAPI application: bounded bodies, HEAD, headers for browsers, and a lid on defects.

FastAPI itself reads bodies of any size, for as long as their sender likes, and answers HEAD with 405.
"""

from collections.abc import Callable
from typing import Any, Final

import anyio
import anyio.to_thread

from gateway.errors import PayloadTooLarge
from gateway.frontend import asgi
from gateway.frontend.asgi import App, Receive, Scope, Send
from gateway.frontend.body import check_form, read_body
from gateway.frontend.http_request import HttpRequest
from gateway.request import Principal
from gateway.rest.public import PublicEndpoints

MAX_BODY: Final = 64 * 1024
"""Bytes. What is sent here is small."""

SECURITY_HEADERS: Final = (
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("x-frame-options", "DENY"),
)
NOT_STORED: Final = ("cache-control", "no-store")
"""Unless an answer says otherwise: it may hold a token, and is not for whoever uses the browser next."""


REFUSING: Final = frozenset({401, 403, 429})
"""What is answered to who may not do that."""


class Shell:
    """
    Args:
        public: answers what needs no application.
        build: makes the application; takes half a second, and 10 MiB, and is called when somebody asks for it, in a
            thread.
        on_refused: told of each request that the application answers with 401, 403 or 429.
    """

    def __init__(
        self,
        public: PublicEndpoints,
        build: Callable[[], App],
        on_refused: Callable[[HttpRequest, int], None] | None = None,
    ) -> None:
        self._public = public
        self._build = build
        self._on_refused = on_refused
        self._app: App | None = None
        self._building = anyio.Lock()

    async def __call__(self, request: HttpRequest, user: Principal | None) -> None:
        """
        Args:
            user: who asks; None for who did not say, whom only the public paths answer.

        Raises:
            GatewayError: the body is not what it may be.
        """
        fields = (*request.extra_headers, *SECURITY_HEADERS)
        request.extra_headers = (*fields, NOT_STORED)
        body = await _read(request)
        if await self._public.answered(request, user):
            return
        application = await self._application()

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            async def send_checked(event: dict[str, Any]) -> None:
                if self._on_refused is not None and event.get("status") in REFUSING:
                    self._on_refused(request, event["status"])
                if any(name == b"cache-control" for name, _ in event.get("headers", ())):
                    request.extra_headers = fields
                await send(event)

            await application(scope, receive, send_checked)

        method = "GET" if request.method == "HEAD" else request.method  # our server leaves the body out
        await asgi.run(app, request, body, method=method, user=user)

    async def _application(self) -> App:
        async with self._building:
            if self._app is None:
                self._app = await anyio.to_thread.run_sync(self._build)
        return self._app


async def _read(request: HttpRequest) -> bytes:
    try:
        body = await read_body(request, MAX_BODY)
    except PayloadTooLarge as error:
        error.message = f"The body is larger than {MAX_BODY} bytes."  # not the cap that the error speaks of
        raise
    if body:
        check_form(request.headers)
    return body
