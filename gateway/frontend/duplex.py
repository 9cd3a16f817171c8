"""JSON-RPC over one ordered channel in both directions: a stdio pipe, or a legacy event stream with POSTs beside it.

Both eras are served, request by request: one that carries the modern envelope speaks for itself, all others belong to
the connection's handshake.
"""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, cast

import anyio
import structlog
from anyio.abc import TaskGroup

from gateway import jsonrpc
from gateway.call import Call, HttpExchange
from gateway.errors import AgentCannot, GatewayError, InvalidRequest, Overloaded
from gateway.frontend.asks import ServerRequests
from gateway.frontend.backlog import Backlog, Backlogs
from gateway.frontend.body import check_batch, check_shape, decode
from gateway.frontend.tasks import TASK_OPTIONS
from gateway.harmless import Clipped
from gateway.jsonrpc import Message, RequestId, as_object
from gateway.protocol import INTERNAL_ERROR, Era
from gateway.request import Principal
from gateway.server.agents import ConnectedAgent, OnNotification, carries_envelope, declared, modern_agent

log = structlog.stdlib.get_logger("gateway.frontend")


class Duplex:
    """
    Args:
        agent: the connection's handshake-era self.
        write: puts one message on the channel, and returns how many bytes that are, if it did; must not block.
        tasks: where notifications are handled.
        on_open: told once the agent has initialized; before that it may not be sent anything unasked.
        on_notification: told what the agent says unasked.
        on_first: told of the first request, whatever it is, when `agent` knows what its client declares.
        admit: raises an error for a request that is not to be taken on.
        held: counts the answers to batches that are not complete yet.
    """

    def __init__(
        self,
        agent: ConnectedAgent,
        handle: Callable[[Call], Awaitable[dict[str, Any]]],
        write: Callable[[Message | list[Message]], int | None],
        tasks: TaskGroup,
        on_open: Callable[[ConnectedAgent], None],
        on_notification: OnNotification,
        on_first: Callable[[], None] = lambda: None,
        admit: Callable[[], None] = lambda: None,
        held: Backlog | None = None,
    ) -> None:
        self._admit = admit
        self._held = held if held is not None else Backlogs().open()
        self.agent = agent
        self._handle = handle
        self._write = write
        self._tasks = tasks
        self._on_open = on_open
        self._on_notification = on_notification
        self._on_first = on_first
        self._asks = ServerRequests()
        self._opened = False
        self._spoke = False
        self._in_flight: dict[RequestId, Call] = {}
        self._serving: dict[Call, asyncio.Task[None]] = {}
        self._loop = asyncio.get_running_loop()
        self._idle: anyio.Event | None = None
        """There while somebody waits for the last."""
        agent.outlet = self._notify
        agent.inquiry = self._ask

    def receive(self, data: bytes) -> None:
        """Take one encoded message."""
        usual = jsonrpc.usual_request(data)
        if usual is not None:
            try:
                self.take(usual, size=len(data))
            except GatewayError as error:
                self._refuse(usual.get("id"), error, self._write)
            return
        try:
            message = decode(data)
        except GatewayError as error:
            self._refuse(None, error, self._write)
            return
        if isinstance(message, list) and self._opened:
            self._receive_batch(cast("list[object]", message))
        else:
            self._receive(cast("object", message), size=len(data))

    def _receive(
        self, message: object, write: Callable[[Message], object] | None = None, size: int | None = None
    ) -> None:
        try:
            self.take(check_shape(as_object(message)), write=write, size=size)
        except GatewayError as error:
            id = as_object(message).get("id")
            self._refuse(id if jsonrpc.is_id(id) else None, error, write or self._write)

    def _receive_batch(self, batch: list[object]) -> None:
        """Several messages at once, as 2025-03-26 has it: answered in one piece."""
        try:
            messages = check_batch(batch, self.agent.version)
        except GatewayError as error:
            self._refuse(None, error, self._write)
            return
        answers: list[Message] = []
        owed = sum("id" in message and "method" in message for message in messages)
        size = 0

        def write(answer: Message) -> None:
            nonlocal size
            answer, more = self._bounded(answer)
            answers.append(answer)
            size += more
            if len(answers) == owed:
                self._held.remove(size)
                self._write(answers)

        for message in messages:
            self._receive(message, write)

    def _bounded(self, answer: Message) -> tuple[Message, int]:
        """The answer and the bytes that are held for it; an error in its place if there is no room for it."""
        size = len(jsonrpc.dumps(answer))
        if self._held.has_room(size, must=True):
            self._held.add(size)
            return answer, size
        error = Overloaded("the answers to this batch are too large together", "max_backlog_per_stream")
        return jsonrpc.error(answer["id"], error.code, error.message, error.data), 0

    def take(
        self,
        message: Message,
        sender: Principal | None = None,
        write: Callable[[Message], object] | None = None,
        http: HttpExchange | None = None,
        size: int | None = None,
    ) -> None:
        """Take one decoded message of the right shape.

        Args:
            sender: whose credential it came with, where each message brings one.
            write: takes its answer, where that does not go out by itself.
            http: the HTTP request that it came by, if it did.
            size: its bytes, if it came by itself.
        """
        method, id = message.get("method"), message.get("id")
        if method is None:
            self._asks.answer(message, sender or self.agent.opener)
            return
        params = as_object(message.get("params"))
        if id is None:
            self._hear(method, params)
            return
        self._admit()
        if id in self._in_flight:
            raise InvalidRequest(f"Request id {id!r} is already in use; give every request an id of its own.")
        agent = self.agent
        sender = sender or agent.opener
        if self._spoke and method != "initialize" and "_meta" not in params:
            agent.era = Era.HANDSHAKE  # as nearly always: it says nothing of itself
        else:
            try:
                agent = self._describe(message, params, sender)
            except GatewayError as error:
                self._refuse(id, error, write or self._write)
                return
        call = Call(id, method, params, agent, sender, self._notify)
        call.http, call.received = http, size
        if agent is self.agent:
            call.ask = partial(self._ask, call=call)
        self._in_flight[id] = call
        task = asyncio.Task(self._serve(call, write), loop=self._loop, **TASK_OPTIONS)
        if not task.done():
            self._serving[call] = task

    def _hear(self, method: str, params: dict[str, Any]) -> None:
        if method == "notifications/cancelled":
            id = params.get("requestId")
            if jsonrpc.is_id(id) and id in self._in_flight:
                self._in_flight[id].cancel()
        else:
            self._tasks.start_soon(self._on_notification, self.agent, method, params)

    async def drain(self, seconds: float) -> None:
        """Let what is in flight finish, for at most that long; what is not finished then is cancelled."""
        with anyio.move_on_after(seconds):
            while self._in_flight:
                self._idle = anyio.Event()
                await self._idle.wait()
        for call in list(self._in_flight.values()):
            call.cancel()

    async def close(self) -> None:
        """The agent has gone, and answers nothing any more; what is in flight is cancelled, and has ended when this
        returns."""
        self._asks.close()
        for task in (serving := list(self._serving.values())):
            task.cancel()
        if serving:
            await asyncio.wait(serving)

    async def _serve(self, call: Call, write: Callable[[Message], object] | None) -> None:
        """
        Args:
            write: takes the answer as one of a batch, which is answered when all of it is.
        """
        try:
            try:
                result = await self._handle(call)
                if call.method == "initialize" and not self._opened:
                    self._opened = True
                    self._on_open(self.agent)
                answer = jsonrpc.result(call.id, result)
            except GatewayError as error:
                answer = jsonrpc.error(call.id, error.code_in(call.agent.era), error.message, error.data)
            except Exception:
                log.exception("request failed", method=Clipped(call.method, 100))
                answer = jsonrpc.error(call.id, INTERNAL_ERROR, "Internal error")
            if write is not None:
                write(answer)
            elif not call.is_cancelled:  # else nobody waits for it
                sent = self._write(answer)
                if call.logged is not None:
                    call.logged.bytes_out = sent
        except Exception:
            log.exception("request failed", method=Clipped(call.method, 100))
        finally:
            call.ask = None
            self._serving.pop(call, None)
            del self._in_flight[call.id]
            if self._idle is not None and not self._in_flight:
                self._idle.set()

    def _describe(self, message: Message, params: dict[str, Any], sender: Principal) -> ConnectedAgent:
        """The agent as it describes itself in this request."""
        agent = self.agent
        if carries_envelope(params):
            agent = modern_agent(message, sender, agent.view)
            agent.is_part_of(self.agent)
            if not self._opened:
                self.agent.capabilities = agent.capabilities
            if not self._spoke:
                self.agent.era = agent.era  # so that upstreams are spoken to in it
        else:
            agent.era = Era.HANDSHAKE
            if message["method"] == "initialize":
                agent.capabilities = declared(params.get("capabilities"))
        if not self._spoke:
            self._spoke = True
            self._on_first()
        return agent

    async def _ask(self, method: str, params: dict[str, Any] | None, call: Call | None = None) -> dict[str, Any]:
        if not self._opened:
            raise AgentCannot("it has not initialized")
        return await self._asks.ask(self._write, method, params, call)

    def _notify(self, method: str, params: dict[str, Any] | None) -> None:
        self._write(jsonrpc.notification(method, params))

    def _refuse(self, id: RequestId | None, error: GatewayError, write: Callable[[Message], object]) -> None:
        write(jsonrpc.error(id, error.code, error.message, error.data))
