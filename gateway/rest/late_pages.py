"""The pages to log in on, which are made when somebody wants to see one: most gateways never show any."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

from gateway.errors import NotFound
from gateway.frontend.guard import Guard
from gateway.frontend.http_request import HttpRequest
from gateway.logins.links import is_page

if TYPE_CHECKING:
    from gateway.rest.connect import ConnectPages


class LatePages:
    """
    Args:
        build: makes the pages, in a thread.
        callback: the path that browsers come back to.
        signs_in: whether people may sign in at an issuer, and come back to a page.
    """

    def __init__(self, build: "Callable[[], ConnectPages]", callback: str, *, signs_in: bool = False) -> None:
        self._build = build
        self._callback = callback
        self._signs_in = signs_in
        self._pages: ConnectPages | None = None
        self._building = anyio.Lock()

    def serves(self, path: str) -> bool:
        """Whether there is that page."""
        return is_page(path, self._callback, signs_in=self._signs_in)

    async def __call__(self, request: HttpRequest, address: str) -> None:
        """
        Args:
            address: where it came from.
        """
        async with self._building:
            if self._pages is None:
                self._pages = await anyio.to_thread.run_sync(self._build)
        await self._pages(request, address)


class DeskPages:
    """Those of a gateway at a desk (stdio), at an address of this machine, where nothing else is."""

    def __init__(self, pages: LatePages) -> None:
        self._pages = pages
        self._guard = Guard([], [])

    async def __call__(self, request: HttpRequest) -> None:
        """
        Raises:
            GatewayError: there is nothing for that request.
        """
        self._guard.check(request.headers.get("host"), request.headers.get("origin"))
        if not self._pages.serves(request.path.rstrip("/")):
            raise NotFound("There is nothing here but pages to log in on.")
        await self._pages(request, request.address)
