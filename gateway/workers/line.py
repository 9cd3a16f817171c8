"""What the supervisor and one worker say to each other: messages over a socket, some of which are answered."""

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import anyio
import structlog
from anyio.abc import TaskStatus

log = structlog.stdlib.get_logger("gateway.workers")

PATIENCE: Final = 2.0
"""Seconds that an answer is waited for."""
MAX_UNSENT: Final = 64 * 2**20
"""Bytes that may wait for a peer that does not read; what comes after those is dropped."""

_HEAD: Final = struct.Struct(">IBIB")
"""Length of what follows, what it is, the number of a question, the length of its kind."""
_SAID, _ASKED, _ANSWERED, _FAILED = range(4)
_LENGTH: Final = struct.Struct(">I")

Handler = Callable[[bytes], Awaitable[bytes]]


class LineError(Exception):
    """There is no answer: the other end is gone, too slow, or could not give one."""


class WorkerLine:
    """One end. `run` it."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._handlers: dict[str, Handler] = {}
        self._writer: asyncio.StreamWriter | None = None
        self._asked: dict[int, asyncio.Future[bytes]] = {}
        self._number = 0
        self.closed = anyio.Event()

    def on(self, kind: str, handler: Handler) -> None:
        """Have messages of a kind heard; what the handler returns is the answer, if one is wanted."""
        self._handlers[kind] = handler

    def tell(self, kind: str, data: bytes = b"") -> None:
        """Never waits, and nobody learns whether it arrives."""
        self._write(_SAID, 0, kind, data)

    async def ask(self, kind: str, data: bytes = b"", patience: float = PATIENCE) -> bytes:
        """
        Raises:
            LineError: there is no answer.
        """
        self._number = number = (self._number + 1) & 0xFFFFFFFF
        future = self._asked[number] = asyncio.get_running_loop().create_future()
        try:
            self._write(_ASKED, number, kind, data)
            async with asyncio.timeout(patience):
                return await future
        except TimeoutError:
            raise LineError(f"no answer to {kind!r} within {patience:g} s") from None
        finally:
            del self._asked[number]

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Hear what the other end says, until it is gone; started when something can be said."""
        reader, self._writer = await asyncio.open_unix_connection(sock=self._end)
        task_status.started()
        try:
            async with anyio.create_task_group() as tg:
                try:
                    while True:
                        length, what, number, size = _HEAD.unpack(await reader.readexactly(_HEAD.size))
                        body = await reader.readexactly(length)
                        self._hear(tg.start_soon, what, number, body[:size].decode(), body[size:])
                except (asyncio.IncompleteReadError, OSError):
                    tg.cancel_scope.cancel()
        finally:
            self.closed.set()
            self._writer.close()
            for future in self._asked.values():
                if not future.done():
                    future.set_exception(LineError("the other end is gone"))

    def _hear(self, start: Callable[..., object], what: int, number: int, kind: str, data: bytes) -> None:
        if what in (_SAID, _ASKED):
            start(self._handle, number if what == _ASKED else None, kind, data)
        elif (future := self._asked.get(number)) is not None and not future.done():
            if what == _ANSWERED:
                future.set_result(data)
            else:
                future.set_exception(LineError("it could not be answered"))

    async def _handle(self, number: int | None, kind: str, data: bytes) -> None:
        what, answer = _FAILED, b""
        try:
            if (handler := self._handlers.get(kind)) is not None:
                what, answer = _ANSWERED, await handler(data)
        except Exception:
            log.exception("message between processes failed", kind=kind)
        if number is not None:
            self._write(what, number, "", answer)

    def _write(self, what: int, number: int, kind: str, data: bytes) -> None:
        writer = self._writer
        if writer is None or writer.is_closing() or self.closed.is_set():
            return
        if writer.transport.get_write_buffer_size() > MAX_UNSENT:
            return
        name = kind.encode()
        writer.write(_HEAD.pack(len(name) + len(data), what, number, len(name)) + name + data)


def pack(parts: Sequence[bytes]) -> bytes:
    """Several messages as one."""
    return b"".join(_LENGTH.pack(len(part)) + part for part in parts)


def unpack(data: bytes) -> list[bytes]:
    parts: list[bytes] = []
    at = 0
    while at < len(data):
        (length,) = _LENGTH.unpack_from(data, at)
        at += _LENGTH.size
        parts.append(data[at : at + length])
        at += length
    return parts
