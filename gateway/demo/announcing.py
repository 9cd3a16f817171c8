"""An MCPServer whose resources change: it tells those who asked, in both eras of the protocol.

The SDK's MCPServer does this for 2026-07-28 (`subscriptions/listen`) and leaves out what earlier clients use:
`resources/subscribe`, and the capabilities that announce it. Serves one connection, as stdio does.
"""

from typing import Any, Final

from mcp import MCPError
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel.server import NotificationOptions
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.stdio import stdio_server
from mcp_types import INVALID_PARAMS, EmptyResult, SubscribeRequestParams, UnsubscribeRequestParams

MAX_SUBSCRIPTIONS: Final = 1000


class AnnouncingServer(MCPServer[Any]):
    """Call `announce` when a resource appears, changes or goes."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._subscribed: set[str] = set()
        serve = self._lowlevel_server.add_request_handler
        serve("resources/subscribe", SubscribeRequestParams, self._subscribe)
        serve("resources/unsubscribe", UnsubscribeRequestParams, self._unsubscribe)

    async def announce(self, uri: str, ctx: Context[Any, Any]) -> None:
        """Say that the resource and the list of resources have changed. The SDK drops the other era's messages."""
        await ctx.notify_resources_changed()
        await ctx.notify_resource_updated(uri)
        await ctx.session.send_resource_list_changed()
        if uri in self._subscribed:
            await ctx.session.send_resource_updated(uri)

    async def run_stdio_async(self) -> None:
        announced = NotificationOptions(resources_changed=True)
        async with stdio_server() as (read, write):
            server = self._lowlevel_server
            await server.run(read, write, server.create_initialization_options(announced))

    async def _subscribe(self, ctx: ServerRequestContext[Any, Any], params: SubscribeRequestParams) -> EmptyResult:
        if len(self._subscribed) >= MAX_SUBSCRIPTIONS:
            raise MCPError(INVALID_PARAMS, f"{MAX_SUBSCRIPTIONS} subscriptions are the limit; drop some first.")
        self._subscribed.add(params.uri)
        return EmptyResult()

    async def _unsubscribe(self, ctx: ServerRequestContext[Any, Any], params: UnsubscribeRequestParams) -> EmptyResult:
        self._subscribed.discard(params.uri)
        return EmptyResult()
