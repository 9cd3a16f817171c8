"""One connection to a Valkey or Redis server, on which commands are sent as they come and answered in their order.

The library's own client waits for each answer before it sends the next command, and holds a connection for each of
those who wait. Here nobody holds up anybody: what is asked in one turn of the event loop goes out in one write, and a
store that answers slowly only answers later.
"""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final, NamedTuple, Protocol

import anyio
import structlog
from anyio.abc import TaskStatus
from valkey.exceptions import ResponseError, ValkeyError

from gateway.errors import StoreUnavailable
from gateway.store.contact import QUICK_SECONDS, StoreContact

log = structlog.stdlib.get_logger("gateway.store")

CONNECT_SECONDS: Final = 2.0
RECONNECT_SECONDS: Final = 0.25
"""Between attempts to connect."""
ANSWER_SECONDS: Final = 2.0
"""After which a connection that does not answer is given up for another."""
HELD_UP_SECONDS: Final = 1.0
"""Between two looks, after which it was this process that was held up: answers may be there, and not be read yet."""
MAX_WAITING: Final = 20_000
"""Commands that may wait for their answers."""
MAX_WAITING_BYTES: Final = 128 * 2**20
"""Of what they say."""

Command = tuple[Any, ...]


class StoreConnection(Protocol):
    """What is used of a `valkey.asyncio.connection.AbstractConnection`, with the types that it does not have."""

    async def connect(self) -> None: ...

    def pack_commands(self, commands: list[Command]) -> list[bytes]: ...

    async def send_packed_command(self, command: list[bytes], check_health: bool = True) -> None: ...

    async def send_command(self, *args: Any, check_health: bool = True) -> None: ...

    async def read_response(self, disable_decoding: bool = False, *, disconnect_on_error: bool = True) -> Any: ...

    def _close(self) -> None: ...


class _Asked(NamedTuple):
    future: asyncio.Future[Any] | None
    """None where nobody wants the answer."""
    at: float
    """When it was asked, by the monotonic clock."""
    size: int


class Pipe:
    """
    Args:
        make: makes a connection that is not connected yet.
        contact: told how it goes.
    """

    def __init__(self, make: Callable[[], StoreConnection], contact: StoreContact) -> None:
        self._make = make
        self._contact = contact
        self._connection: StoreConnection | None = None
        self._unsent: list[Command] = []
        self._asked: deque[_Asked] = deque()
        self._bytes = 0
        self._wake = asyncio.Event()
        self._scope = anyio.CancelScope()
        self._said = ""
        self._looked_at = self._awake_since = time.monotonic()

    @property
    def is_connected(self) -> bool:
        return self._connection is not None

    def ask(self, *command: Any) -> asyncio.Future[Any]:
        """Returns the future answer. It may be cancelled, and the answer is dropped then.

        Raises:
            StoreUnavailable: there is no connection, or too much waits for answers.
        """
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._put(command, future)
        return future

    def say(self, *command: Any) -> None:
        """As `ask`, where nobody wants to know the answer, nor whether there is one."""
        with suppress(StoreUnavailable):
            self._put(command, None)

    def look(self, now: float) -> None:
        """Called a few times a second: notices what is not answered."""
        if now - self._looked_at > HELD_UP_SECONDS:
            self._awake_since = now
        self._looked_at = now
        waited = now - max(self._asked[0].at, self._awake_since) if self._asked else 0.0
        if waited > ANSWER_SECONDS:
            self._contact.failed(f"it has not answered for {waited:.0f} s")
            self._scope.cancel()
        elif waited > QUICK_SECONDS:
            self._contact.overdue(waited)

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Keep a connection until cancelled. Started once one was made, or could not be."""
        while True:
            connection = self._make()
            try:
                try:
                    with anyio.fail_after(CONNECT_SECONDS):
                        await connection.connect()
                    self._begin(connection)
                    task_status.started()
                    task_status = anyio.TASK_STATUS_IGNORED
                    await self._work(connection)
                    reason = self._contact.reason
                except (ValkeyError, OSError, EOFError) as error:  # of which a TimeoutError is one
                    reason = str(error) or "it cannot be connected to in time"
            finally:
                self._end(connection)
            self._lose(reason)
            task_status.started()
            task_status = anyio.TASK_STATUS_IGNORED
            await asyncio.sleep(RECONNECT_SECONDS)

    def _put(self, command: Command, future: asyncio.Future[Any] | None) -> None:
        if self._connection is None:
            raise StoreUnavailable(self._contact.reason)
        size = sum(len(part) for part in command if isinstance(part, bytes | str))
        if len(self._asked) >= MAX_WAITING or self._bytes + size > MAX_WAITING_BYTES:
            raise StoreUnavailable("too much waits for its answers")
        self._bytes += size
        self._asked.append(_Asked(future, time.monotonic(), size))
        self._unsent.append(command)
        self._wake.set()

    async def _work(self, connection: StoreConnection) -> None:
        failures: list[Exception] = []

        async def until_it_fails(work: Callable[[StoreConnection], Awaitable[None]]) -> None:
            try:
                await work(connection)
            except (ValkeyError, OSError, EOFError) as error:
                failures.append(error)
                scope.cancel()

        with anyio.CancelScope() as scope:
            self._scope = scope
            async with anyio.create_task_group() as tg:
                tg.start_soon(until_it_fails, self._write)
                await until_it_fails(self._read)
        if failures:
            raise failures[0]

    async def _write(self, connection: StoreConnection) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            commands, self._unsent = self._unsent, []
            await connection.send_packed_command(connection.pack_commands(commands), check_health=False)

    async def _read(self, connection: StoreConnection) -> None:
        while True:
            try:
                answer = await connection.read_response(disable_decoding=True, disconnect_on_error=False)
            except ResponseError as error:
                answer = error
            asked = self._asked.popleft()
            self._bytes -= asked.size
            now = time.monotonic()
            self._contact.answered(now, now - asked.at)
            future = asked.future
            if future is None or future.done():
                continue
            if isinstance(answer, ResponseError):
                future.set_exception(answer)
            else:
                future.set_result(answer)

    def _begin(self, connection: StoreConnection) -> None:
        self._connection = connection
        self._unsent.clear()
        self._wake.clear()
        if self._said:
            log.info("the store is back")
        self._said = ""

    def _end(self, connection: StoreConnection) -> None:
        self._connection = None
        with suppress(Exception):
            connection._close()  # pyright: ignore[reportPrivateUsage] - the public way waits

    def _lose(self, reason: str) -> None:
        self._contact.failed(reason)
        if reason != self._said:
            log.warning("the store cannot be reached", reason=reason)
        self._said = reason
        asked, self._asked, self._bytes = self._asked, deque(), 0
        for each in asked:
            if each.future is not None and not each.future.done():
                each.future.set_exception(StoreUnavailable(reason))
                each.future.exception()  # whoever waited may be gone
