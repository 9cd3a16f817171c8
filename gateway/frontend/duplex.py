"""JSON-RPC over one ordered channel in both directions: a stdio pipe, or a legacy event stream with POSTs beside it.

Both eras are served, request by request: one that carries the modern envelope speaks for itself, all others belong to
the connection's handshake.
"""

from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import structlog
from anyio.abc import TaskGroup

from gateway import jsonrpc
from gateway.errors import GatewayError, InvalidRequest, ParseError
from gateway.frontend.agents import ConnectedAgent, carries_envelope, modern_agent
from gateway.frontend.body import check_shape
from gateway.jsonrpc import Message, RequestId, as_object
from gateway.protocol import INTERNAL_ERROR
from gateway.request import Request

log = structlog.stdlib.get_logger("gateway.frontend")


class Duplex:
    """
    Args:
        agent: the connection's handshake-era self.
        write: puts one message on the channel; must not block.
        tasks: where requests are handled.
        on_open: told once the agent has initialized; before that it may not be sent anything unasked.
    """

    def __init__(
        self,
        agent: ConnectedAgent,
        handle: Callable[[Request], Awaitable[dict[str, Any]]],
        write: Callable[[Message], None],
        tasks: TaskGroup,
        on_open: Callable[[ConnectedAgent], None],
    ) -> None:
        self.agent = agent
        self._handle = handle
        self._write = write
        self._tasks = tasks
        self._on_open = on_open
        self._opened = False
        self._in_flight: dict[RequestId, anyio.CancelScope] = {}
        self._idle = anyio.Event()
        self._idle.set()
        agent.outlet = self._notify

    def receive(self, data: bytes) -> None:
        """Take one encoded message."""
        try:
            message: object = jsonrpc.loads(data)
        except (ValueError, RecursionError):
            self._refuse(None, ParseError("Not JSON."))
            return
        try:
            self.take(check_shape(as_object(message)))
        except GatewayError as error:
            id = as_object(message).get("id")
            self._refuse(id if jsonrpc.is_id(id) else None, error)

    def take(self, message: Message) -> None:
        """Take one decoded message of the right shape."""
        method, id = message.get("method"), message.get("id")
        if method is None:
            return  # an answer; nothing was asked
        if id is None:
            if method == "notifications/cancelled":
                cancelled = as_object(message.get("params")).get("requestId")
                scope = self._in_flight.get(cancelled) if jsonrpc.is_id(cancelled) else None
                if scope is not None:
                    scope.cancel()
            return
        if id in self._in_flight:
            raise InvalidRequest(f"Request id {id!r} is already in use; give every request an id of its own.")
        scope = self._in_flight[id] = anyio.CancelScope()
        self._idle = anyio.Event()
        self._tasks.start_soon(self._serve, message, id, scope)

    async def drain(self, seconds: float) -> None:
        """Let what is in flight finish, for at most that long; what is not finished then is cancelled."""
        with anyio.move_on_after(seconds):
            await self._idle.wait()
        for scope in list(self._in_flight.values()):
            scope.cancel()

    async def _serve(self, message: Message, id: RequestId, scope: anyio.CancelScope) -> None:
        try:
            with scope:
                self._write(await self._answer(message, id))
        finally:
            del self._in_flight[id]
            if not self._in_flight:
                self._idle.set()

    async def _answer(self, message: Message, id: RequestId) -> Message:
        params = as_object(message.get("params"))
        try:
            agent = self.agent
            if carries_envelope(params):
                agent = modern_agent(message, agent.principal, agent.view)
            result = await self._handle(Request(id, message["method"], params, agent, self._notify))
            if message["method"] == "initialize" and not self._opened:
                self._opened = True
                self._on_open(agent)
            return jsonrpc.result(id, result)
        except GatewayError as error:
            return jsonrpc.error(id, error.code, error.message, error.data)
        except Exception:
            log.exception("request failed", method=message["method"])
            return jsonrpc.error(id, INTERNAL_ERROR, "Internal error")

    def _notify(self, method: str, params: dict[str, Any] | None) -> None:
        self._write(jsonrpc.notification(method, params))

    def _refuse(self, id: RequestId | None, error: GatewayError) -> None:
        self._write(jsonrpc.error(id, error.code, error.message, error.data))
