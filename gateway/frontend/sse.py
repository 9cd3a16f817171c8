"""The legacy HTTP+SSE transport, for clients that know no other: a standing event stream, and POSTs beside it.

Source: 2024-11-05, basic/transports.
"""

from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs

import anyio
import structlog

from gateway.access.expiry import until_expiry
from gateway.access.in_flight import InFlight
from gateway.access.places import SessionQuota
from gateway.config.models import GatewaySettings
from gateway.errors import SessionNotFound
from gateway.frontend.backlog import Backlogs
from gateway.frontend.body import read_message
from gateway.frontend.call_response import EventStream
from gateway.frontend.duplex import Duplex
from gateway.frontend.post_head import Http
from gateway.frontend.silence import Silence
from gateway.frontend.sse_relay import SseRelay
from gateway.frontend.streamable import Handler
from gateway.frontend.streams import event
from gateway.jsonrpc import Message
from gateway.protocol import HANDSHAKE_VERSIONS
from gateway.request import Principal
from gateway.server.agents import ConnectedAgent, OnNotification
from gateway.store.shared import Store

log = structlog.stdlib.get_logger("gateway.frontend")


@dataclass(frozen=True, slots=True)
class SseConnection:
    """One agent's."""

    duplex: Duplex
    stream: EventStream


class LegacySse:
    """The endpoints `/sse` and `/messages`."""

    def __init__(
        self,
        settings: GatewaySettings,
        handle: Handler,
        on_open: Callable[[ConnectedAgent], None],
        on_close: Callable[[ConnectedAgent], Awaitable[None]],
        on_notification: OnNotification,
        places: SessionQuota,
        in_flight: InFlight,
        count_notification: Callable[[Principal, str], Awaitable[None]],
        waiting: Backlogs,
        store: Store | None = None,
    ) -> None:
        """
        Args:
            store: what nodes share, if there are others that messages may arrive at.
        """
        self._waiting = waiting
        self._settings = settings
        self._silence = Silence(settings.keepalive)
        self._handle = handle
        self._on_open = on_open
        self._on_close = on_close
        self._on_notification = on_notification
        self._places = places
        self._in_flight = in_flight
        self._count_notification = count_notification
        self._open: dict[str, SseConnection] = {}
        self._relay = SseRelay(store, self._take) if store is not None else None

    async def get(self, http: Http) -> None:
        """One connection, from its first event to its last.

        Raises:
            TooManySessions: the principal, or everybody together, has as many as may be.
        """
        over = anyio.Event()
        stream = EventStream(http.request, self._silence, self._waiting.open(http.principal), over.set)
        with self._places.held(http.principal), until_expiry(http.principal, stream.end):
            await self._serve(http, stream, over)

    async def _serve(self, http: Http, stream: EventStream, over: anyio.Event) -> None:
        agent = ConnectedAgent(http.principal, http.view, HANDSHAKE_VERSIONS[0])
        id = self._relay.named(agent.id) if self._relay is not None else agent.id
        stream.push(b"event: endpoint\ndata: /messages?session_id=%s\n\n" % id.encode())

        def write(message: Message | list[Message]) -> int | None:
            must = isinstance(message, list) or "id" in message
            if must or not stream.is_full:
                stream.push(data := event(message), must=must)
                return len(data)
            return None

        try:
            async with anyio.create_task_group() as tg:
                duplex = Duplex(agent, self._handle, write, tg, self._on_open, self._on_notification)
                self._open[id] = SseConnection(duplex, stream)
                stream.open()
                try:
                    await over.wait()
                finally:
                    with anyio.CancelScope(shield=True):
                        await duplex.close()
                tg.cancel_scope.cancel()
        finally:
            del self._open[id]
            with anyio.CancelScope(shield=True):
                await self._on_close(agent)

    def close_those_of(self, principals: Collection[str]) -> None:
        """End the connections of principals (ids) that are no longer good, and of their agents."""
        for connection in self._open.values():
            if connection.duplex.agent.opener.is_one_of(principals):
                connection.stream.end()

    def shut(self) -> None:
        """The gateway stops: what was said is all of it."""
        for connection in self._open.values():
            connection.stream.end()

    async def post(self, http: Http) -> None:
        """One message of a connection's agent.

        Raises:
            SessionNotFound: there is no such connection, or it is another principal's.
        """
        parameters: dict[str, Any] = parse_qs(http.request.query.decode("latin-1"))
        id: str = parameters.get("session_id", [""])[0]
        connection = self._open.get(id)
        if connection is not None and connection.duplex.agent.opener.id != http.principal.id:
            raise SessionNotFound
        if connection is None and self._relay is None:
            raise SessionNotFound
        with self._in_flight.held(http.principal):
            message = await read_message(http.request, self._settings.max_request_bytes)
        if "id" not in message and "method" in message:
            await self._count_notification(http.principal, message["method"])
        if connection is not None:
            connection.duplex.take(message, http.principal, http=http.request)
        elif self._relay is None or not await self._relay.pass_on(id, http.principal.id, message):
            raise SessionNotFound
        http.request.reply(202)

    def _take(self, id: str, principal: str, message: bytes) -> None:
        """Another node has been sent it."""
        connection = self._open.get(id)
        if connection is not None and connection.duplex.agent.opener.id == principal:
            connection.duplex.receive(message)
