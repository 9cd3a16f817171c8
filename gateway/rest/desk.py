"""The pages to log in on of a gateway at a desk (stdio): at an address of this machine, where nothing else is."""

from collections.abc import Callable

import anyio.to_thread

from gateway.errors import NotFound
from gateway.frontend.guard import Guard
from gateway.frontend.http_request import HttpRequest
from gateway.rest.connect import ConnectPages


class DeskPages:
    """
    Args:
        build: makes the pages, beside the loop, when somebody wants to see one.
    """

    def __init__(self, build: Callable[[], ConnectPages]) -> None:
        self._build = build
        self._pages: ConnectPages | None = None
        self._guard = Guard([], [])

    async def __call__(self, request: HttpRequest) -> None:
        """
        Raises:
            GatewayError: there is nothing for that request.
        """
        self._guard.check(request.headers.get("host"), request.headers.get("origin"))
        if self._pages is None:
            self._pages = await anyio.to_thread.run_sync(self._build)
        path = request.path.rstrip("/")
        if not self._pages.serves(path):
            raise NotFound("There is nothing here but pages to log in on.")
        await self._pages(request, request.address)
