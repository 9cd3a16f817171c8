"""One real MCP server on the official SDK with everything in it: the conformance suite's items and our own tools.

    python -m tests.servers.everything [--transport stdio|sse|http] [--port N] [--era both|handshake|modern]
        [--name NAME] [--page-size N] [--ttl-ms N] [--cache-scope public|private]

HTTP is at /mcp, SSE at /sse. `--era` leaves one era out, and refuses it the way a server that never knew it would.
"""

import argparse
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar, get_args

import anyio
import mcp_types as types
from mcp.server.caching import CacheableMethod, CacheHint
from mcp.server.lowlevel.server import NotificationOptions, Server
from mcp.server.models import InitializationOptions
from mcp.server.request_state import RequestStateBoundary, RequestStateSecurity
from mcp.server.subscriptions import ListenHandler
from mcp.shared.exceptions import MCPError
from pydantic import BaseModel

from tests.servers.items import asking, content, gateway, reading
from tests.servers.items.call import Call, Context, InputRequired, Result, World
from tests.servers.transports import serve
from tests.servers.wire import ERAS, MODERN

Params = TypeVar("Params", bound=BaseModel)
Handler = Callable[[Context, Params], Awaitable[Result]]


def answering(handler: Handler[Params]) -> Handler[Params]:
    """Say what kind of result it is, where the era wants it said: the SDK leaves that to models we do not use."""

    async def answer(ctx: Context, params: Params) -> Result:
        kind = {"resultType": "complete"} if ctx.protocol_version == MODERN else {}
        try:
            return kind | await handler(ctx, params)
        except InputRequired as asked:
            return asked.result

    return answer


class Everything(Server[Any]):
    """The SDK's server with our handlers. Says that its lists change, which the SDK leaves to the transport."""

    def __init__(self, name: str, page_size: int | None, hint: CacheHint) -> None:
        self._world = World({tool.name: tool for tool in (*content.TOOLS, *asking.TOOLS, *gateway.TOOLS)})
        self._page_size = page_size
        super().__init__(
            name,
            version="1",
            instructions="A server for tests.",
            cache_hints=dict.fromkeys(get_args(CacheableMethod), hint),
            get_tool_input_schema=self._schema,
        )
        # Seals requestState, so that a changed one is refused before a handler sees it.
        self.middleware.append(RequestStateBoundary(RequestStateSecurity.ephemeral(), default_audience=name))
        self._add_handlers()

    def create_initialization_options(
        self,
        notification_options: NotificationOptions | None = None,
        experimental_capabilities: dict[str, dict[str, Any]] | None = None,
        extensions: dict[str, dict[str, Any]] | None = None,
    ) -> InitializationOptions:
        return super().create_initialization_options(NotificationOptions(True, True, True))

    def _add_handlers(self) -> None:
        def add(method: str, params_type: type[Params], handler: Handler[Params]) -> None:
            self.add_request_handler(method, params_type, answering(handler))

        listed = types.PaginatedRequestParams
        add("tools/list", listed, self._list_tools)
        add("tools/call", types.CallToolRequestParams, self._call_tool)
        add("resources/list", listed, self._list_resources)
        add("resources/templates/list", listed, self._list_templates)
        add("resources/read", types.ReadResourceRequestParams, self._read)
        add("resources/subscribe", types.SubscribeRequestParams, self._subscribe)
        add("resources/unsubscribe", types.UnsubscribeRequestParams, self._unsubscribe)
        add("prompts/list", listed, self._list_prompts)
        add("prompts/get", types.GetPromptRequestParams, self._prompt)
        add("completion/complete", types.CompleteRequestParams, self._complete)
        add("logging/setLevel", types.SetLevelRequestParams, self._set_level)
        listen = ListenHandler(self._world.bus)
        self.add_request_handler("subscriptions/listen", types.SubscriptionsListenRequestParams, listen)
        self.add_notification_handler("notifications/initialized", types.NotificationParams, self._initialized)

    def _schema(self, name: str) -> dict[str, Any] | None:
        tool = self._world.tools.get(name)
        return tool.schema if tool else None

    def _page(self, key: str, items: Sequence[dict[str, Any]], params: types.PaginatedRequestParams) -> Result:
        try:
            start = int(params.cursor or 0)
        except ValueError:
            raise MCPError(types.INVALID_PARAMS, "Invalid cursor") from None
        end = len(items) if self._page_size is None else start + self._page_size
        return {key: list(items[start:end])} | ({"nextCursor": str(end)} if end < len(items) else {})

    async def _list_tools(self, ctx: Context, params: types.PaginatedRequestParams) -> Result:
        return self._page("tools", [tool.listing() for tool in self._world.tools.values()], params)

    async def _list_resources(self, ctx: Context, params: types.PaginatedRequestParams) -> Result:
        return self._page("resources", reading.RESOURCES, params)

    async def _list_templates(self, ctx: Context, params: types.PaginatedRequestParams) -> Result:
        return self._page("resourceTemplates", reading.TEMPLATES, params)

    async def _list_prompts(self, ctx: Context, params: types.PaginatedRequestParams) -> Result:
        return self._page("prompts", reading.PROMPTS, params)

    async def _call_tool(self, ctx: Context, params: types.CallToolRequestParams) -> Result:
        tool = self._world.tools.get(params.name)
        if tool is None:
            raise MCPError(types.INVALID_PARAMS, f"Unknown tool: {params.name}")
        try:
            return await tool.run(Call(ctx, self._world, params.arguments or {}))
        except KeyError as missing:
            raise MCPError(types.INVALID_PARAMS, f"No such argument or tool: {missing.args[0]}") from None

    async def _read(self, ctx: Context, params: types.ReadResourceRequestParams) -> Result:
        return await reading.read(Call(ctx, self._world, {}), params.uri)

    async def _prompt(self, ctx: Context, params: types.GetPromptRequestParams) -> Result:
        return await reading.prompt(Call(ctx, self._world, dict(params.arguments or {})), params.name)

    async def _complete(self, ctx: Context, params: types.CompleteRequestParams) -> Result:
        return reading.complete(params.argument.value)

    async def _subscribe(self, ctx: Context, params: types.SubscribeRequestParams) -> Result:
        self._world.peer(ctx).uris.add(params.uri)
        return {}

    async def _unsubscribe(self, ctx: Context, params: types.UnsubscribeRequestParams) -> Result:
        self._world.peer(ctx).uris.discard(params.uri)
        return {}

    async def _set_level(self, ctx: Context, params: types.SetLevelRequestParams) -> Result:
        self._world.peer(ctx).level = params.level
        return {}

    async def _initialized(self, ctx: Context, params: types.NotificationParams) -> None:
        self._world.peer(ctx)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--transport", choices=("stdio", "sse", "http"), default="stdio")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--era", choices=ERAS, default="both")
    parser.add_argument("--name", default="everything")
    parser.add_argument("--page-size", type=int, default=None)
    parser.add_argument("--ttl-ms", type=int, default=60_000)
    parser.add_argument("--cache-scope", choices=("public", "private"), default="public")
    args = parser.parse_args()
    server = Everything(args.name, args.page_size, CacheHint(args.ttl_ms, args.cache_scope))
    anyio.run(serve, server, args.transport, args.port, args.era)


if __name__ == "__main__":
    main()
