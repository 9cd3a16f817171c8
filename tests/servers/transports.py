"""Carries an SDK server over stdio, SSE or Streamable HTTP, with one of the protocol's eras left out if asked."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import uvicorn
from mcp.server.auth.middleware.bearer_auth import AuthorizationContext
from mcp.server.lowlevel.server import Server
from mcp.server.runner import modern_on_request, serve_dual_era_loop, serve_loop
from mcp.server.sse import SseServerTransport
from mcp.server.stdio import stdio_server
from mcp.server.streamable_http import (
    EventCallback,
    EventMessage,
    EventStore,
    StreamableHTTPServerTransport,
)
from mcp.server.streamable_http_manager import StreamableHTTPASGIApp, StreamableHTTPSessionManager
from mcp.server.transport_security import TransportSecuritySettings
from mcp.shared.dispatcher import DispatchContext
from mcp.shared.exceptions import MCPError
from mcp.shared.inbound import InboundLadderRejection, classify_inbound_request
from mcp.shared.jsonrpc_dispatcher import JSONRPCDispatcher
from mcp.shared.transport_context import TransportContext
from mcp_types import JSONRPCMessage
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from tests.servers.wire import MODERN, Refusal, error_body, unsupported

Stream = Any
"""One of a pair; the SDK keeps its protocols for them to itself."""


async def serve(server: Server[Any], transport: str, port: int, era: str) -> None:
    """Serve until the client leaves (stdio) or the process is told to stop."""
    match transport:
        case "stdio":
            async with stdio_server() as (read, write):
                await _serve_streams(server, read, write, era)
        case "sse":
            await _serve_asgi(_sse_app(server, era), port)
        case _:
            await _serve_asgi(_http_app(server, era), port)


async def _serve_streams(server: Server[Any], read: Stream, write: Stream, era: str) -> None:
    options = server.create_initialization_options()
    async with server.lifespan(server) as state:
        match era:
            case "handshake":
                await serve_loop(server, read, write, lifespan_state=state, init_options=options)
            case "modern":
                await _serve_modern_loop(server, read, write, state)
            case _:
                await serve_dual_era_loop(server, read, write, lifespan_state=state, init_options=options)


async def _serve_modern_loop(server: Server[Any], read: Stream, write: Stream, state: Any) -> None:
    handle = modern_on_request(server, state)

    async def on_request(
        dctx: DispatchContext[TransportContext], method: str, params: Mapping[str, Any] | None
    ) -> dict[str, Any]:
        if method == "initialize":
            refusal = unsupported((params or {}).get("protocolVersion", ""))
            raise MCPError(refusal.code, refusal.message, refusal.data)
        route = classify_inbound_request({"method": method, "params": params})
        if isinstance(route, InboundLadderRejection):
            raise MCPError(route.code, route.message, route.data)
        return await handle(dctx, method, params)

    async def on_notify(
        dctx: DispatchContext[TransportContext], method: str, params: Mapping[str, Any] | None
    ) -> None: ...

    await JSONRPCDispatcher[TransportContext](read, write).run(on_request, on_notify)


async def _serve_asgi(app: ASGIApp, port: int) -> None:
    # h11, because httptools leaves trailing blanks on header values, which RFC 9110 wants gone. Nothing graceful:
    # whoever stops a fixture wants it gone too.
    config = uvicorn.Config(
        app, "127.0.0.1", port, http="h11", ws="none", log_level="warning", timeout_graceful_shutdown=1
    )
    await uvicorn.Server(config).serve()


def _security() -> TransportSecuritySettings:
    hosts = ["127.0.0.1", "localhost"]
    return TransportSecuritySettings(
        allowed_hosts=[f"{host}:*" for host in hosts], allowed_origins=[f"http://{host}:*" for host in hosts]
    )


# --- The legacy SSE transport --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class SseEndpoint:
    """The long GET of the legacy transport. An object, because Starlette takes functions for request handlers."""

    server: Server[Any]
    era: str
    transport: SseServerTransport

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self.transport.connect_sse(scope, receive, send) as (read, write):
            await _serve_streams(self.server, read, write, self.era)


def _sse_app(server: Server[Any], era: str) -> ASGIApp:
    transport = SseServerTransport("/messages/", _security())
    get = Route("/sse", endpoint=SseEndpoint(server, era, transport), methods=["GET"])
    return Starlette(routes=[get, Mount("/messages/", app=transport.handle_post_message)])


# --- Streamable HTTP -----------------------------------------------------------------------------------------------


class EventLog(EventStore):
    """The events of one session, for clients that come back with `Last-Event-ID`."""

    def __init__(self) -> None:
        self._events: list[tuple[str, JSONRPCMessage | None]] = []

    async def store_event(self, stream_id: str, message: JSONRPCMessage | None) -> str:
        self._events.append((stream_id, message))
        return str(len(self._events))

    async def replay_events_after(self, last_event_id: str, send_callback: EventCallback) -> str | None:
        if not last_event_id.isdecimal() or not 0 < int(last_event_id) <= len(self._events):
            return None
        stream = self._events[int(last_event_id) - 1][0]
        for number, (owner, message) in enumerate(self._events[int(last_event_id) :], int(last_event_id) + 1):
            if owner == stream and message is not None:
                await send_callback(EventMessage(message, str(number)))
        return stream


class Sessions(StreamableHTTPSessionManager):
    """Gives each session an event log of its own; the SDK shares one, in which streams of equal ids run together."""

    def _admit_session(self, requestor: AuthorizationContext | None) -> StreamableHTTPServerTransport | None:
        self.event_store = EventLog()
        return super()._admit_session(requestor)


def _http_app(server: Server[Any], era: str) -> ASGIApp:
    sessions = Sessions(server, EventLog(), retry_interval=100, security_settings=_security())
    app = Starlette(routes=[Route("/mcp", endpoint=StreamableHTTPASGIApp(sessions))], lifespan=lambda _: sessions.run())
    return app if era == "both" else _one_era(app, era)


def _one_era(app: ASGIApp, era: str) -> ASGIApp:
    """Refuse the other era's requests as a server of that one era does."""

    async def gate(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await app(scope, receive, send)
        request = Request(scope, receive)
        version = request.headers.get("mcp-protocol-version", "")
        if (version == MODERN) == (era == "modern"):
            return await app(scope, receive, send)
        if era == "handshake":
            refusal = Refusal(-32600, f"Bad Request: Unsupported protocol version: {version}")
            response = Response(error_body(refusal), 400, media_type="application/json")
        elif request.method == "POST":
            id = json.loads(await request.body()).get("id")
            response = Response(error_body(unsupported(version), id), 400, media_type="application/json")
        else:
            response = Response(status_code=405, headers={"Allow": "POST"})
        return await response(scope, receive, send)

    return gate
