"""The store that is a Valkey or Redis server: `gateway.store`.

Three tasks: one connection for commands (`pipe`), one on which messages from other nodes arrive, and a beat. The beat
says several times a second that this node is there, learns which others are, measures how quickly the store answers,
and compares versions, so that what was missed is found out soon. Every node hears two channels, everybody's and its
own; topics are inside the messages.
"""

import asyncio
import secrets
import struct
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final

import anyio
import structlog
from anyio.abc import TaskStatus
from valkey.asyncio.connection import ConnectionPool
from valkey.exceptions import NoScriptError, ResponseError, ValkeyError

from gateway.errors import StoreUnavailable
from gateway.store.contact import StoreContact
from gateway.store.memory import check_size, forget
from gateway.store.pipe import CONNECT_SECONDS, RECONNECT_SECONDS, Pipe, StoreConnection
from gateway.store.scripts import BEAT, DELETE
from gateway.store.seal import Seal
from gateway.store.shared import MAX_MESSAGE, MAX_VALUE, MESSAGE_SECONDS, SILENCE_SECONDS, WAIT_SECONDS, Handler, Script

log = structlog.stdlib.get_logger("gateway.store")

PREFIX: Final = "mcp-gateway:"
"""Of all keys and channels."""
BEAT_SECONDS: Final = 0.25
NODE_SECONDS: Final = 3.0
"""After which a node that says nothing is not there."""
DEAF_SECONDS: Final = 2.0
"""Every beat is heard on this node's own channel. If none is for so long, another connection is made to hear on."""

_HEAD: Final = struct.Struct(">d8sH")
"""When a message is too late, in the store's time; the sender; the length of the topic."""


class ValkeyStore:
    """A `Store`; see there.

    Args:
        url: `valkey://`, `valkeys://`, `redis://`, `rediss://` or `unix://`, as the library understands it.
        keys: of `state_keys`.
        silence_seconds: how long it may say nothing until what needs it is refused.
    """

    is_shared = True

    def __init__(self, url: str, keys: Sequence[str], silence_seconds: float = SILENCE_SECONDS) -> None:
        self.node = secrets.token_hex(8)
        self.nodes = 1
        library: Any = ConnectionPool  # whose types are partly unknown
        pool = library.from_url(library_url(url), protocol=2, socket_connect_timeout=CONNECT_SECONDS)
        pool.connection_kwargs["socket_timeout"] = None  # `Pipe.look` notices what does not answer
        self._make: Callable[[], StoreConnection] = pool.make_connection
        self._contact = StoreContact(time.monotonic(), silence_seconds)
        self._pipe = Pipe(self._make, self._contact)
        self._seal = Seal(keys)
        self._offset = 0.0
        self._channels = PREFIX + "all", PREFIX + "node:" + self.node
        self._loaded: set[str] = set()
        """Hashes of the scripts that the server knows, unless it is another by now."""
        self._handlers: defaultdict[str, list[Handler]] = defaultdict(list)
        self._watchers: defaultdict[str, list[Callable[[], None]]] = defaultdict(list)
        self._versions: dict[str, int] = {}
        self._due = asyncio.Event()
        self._heard_at = 0.0
        self._hearing = anyio.CancelScope()

    @property
    def is_quick(self) -> bool:
        return self._contact.is_quick

    def now(self) -> float:
        return time.time() + self._offset

    def check(self) -> None:
        now = time.monotonic()
        if self._contact.is_silent(now):
            raise StoreUnavailable(f"{self._contact.reason} (for {self._contact.silence(now):.0f} s)")

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        connected = anyio.CancelScope(shield=True)  # so that something can be said at the end

        async def connect(*, task_status: TaskStatus[None]) -> None:
            with connected:
                await self._pipe.run(task_status=task_status)

        async with anyio.create_task_group() as tg:
            try:
                await tg.start(connect)
                if self._pipe.is_connected:
                    await tg.start(self._listen)
                else:
                    tg.start_soon(self._listen)
                tg.start_soon(self._watch)
                await self._beat()
                task_status.started()
                await self._beat_on()
            finally:
                with anyio.CancelScope(shield=True), suppress(StoreUnavailable):
                    await self._ask("ZREM", PREFIX + "nodes", self.node, patience=WAIT_SECONDS)
                connected.cancel()

    # --- Values -------------------------------------------------------------------------------------------------------

    async def get(self, key: str, *, patience: float = WAIT_SECONDS) -> bytes | None:
        sealed = await self._ask("GET", PREFIX + key, patience=patience)
        return self._seal.open(key, sealed) if sealed is not None else None

    async def set(self, key: str, value: bytes, seconds: float | None, *, patience: float = WAIT_SECONDS) -> None:
        check_size(value, MAX_VALUE)
        await self._ask("SET", PREFIX + key, self._seal.seal(key, value), *_expiring(seconds), patience=patience)

    async def add(self, key: str, value: bytes, seconds: float | None, *, patience: float = WAIT_SECONDS) -> bool:
        check_size(value, MAX_VALUE)
        command = "SET", PREFIX + key, self._seal.seal(key, value), "NX", *_expiring(seconds)
        return await self._ask(*command, patience=patience) is not None

    async def delete(self, *keys: str, patience: float = WAIT_SECONDS) -> int:
        return await self.do(DELETE, keys, patience=patience)

    async def do(
        self, script: Script, keys: Sequence[str], arguments: Sequence[Any] = (), *, patience: float = WAIT_SECONDS
    ) -> Any:
        rest = len(keys), *(PREFIX + key for key in keys), *arguments
        if script.sha in self._loaded:
            try:
                return await self._ask("EVALSHA", script.sha, *rest, patience=patience)
            except NoScriptError:
                pass  # another server, or the same after a restart
        answer = await self._ask("EVAL", script.lua, *rest, patience=patience)
        self._loaded.add(script.sha)
        return answer

    def seal(self, key: str, value: bytes) -> bytes:
        return self._seal.seal(key, value)

    def open(self, key: str, sealed: bytes) -> bytes | None:
        return self._seal.open(key, sealed)

    async def _ask(self, *command: Any, patience: float) -> Any:
        future = self._pipe.ask(*command)
        try:
            async with asyncio.timeout(patience):
                return await future
        except TimeoutError:
            raise StoreUnavailable(f"it takes longer than {round(patience * 1000)} ms") from None
        except NoScriptError:
            raise
        except ResponseError as error:
            raise StoreUnavailable(str(error)) from None

    # --- Messages -----------------------------------------------------------------------------------------------------

    async def send(
        self,
        topic: str,
        message: bytes,
        to: str | None = None,
        *,
        seconds: float = MESSAGE_SECONDS,
        patience: float = WAIT_SECONDS,
    ) -> bool:
        hearers: int = await self._ask(*self._publish(topic, message, to, seconds), patience=patience)
        return hearers > (1 if to is None else 0)  # of what is for all, this node hears too

    def tell(self, topic: str, message: bytes, to: str | None = None, *, seconds: float = MESSAGE_SECONDS) -> None:
        self._pipe.say(*self._publish(topic, message, to, seconds))

    def on_message(self, topic: str, handler: Handler) -> Callable[[], None]:
        self._handlers[topic].append(handler)
        return lambda: forget(self._handlers, topic, handler)

    def version(self, name: str) -> int:
        return self._versions.get(name, 0)

    def on_version(self, name: str, handler: Callable[[], None]) -> Callable[[], None]:
        self._watchers[name].append(handler)
        return lambda: forget(self._watchers, name, handler)

    def _publish(self, topic: str, message: bytes, to: str | None, seconds: float) -> tuple[Any, ...]:
        check_size(message, MAX_MESSAGE)
        channel = self._channels[0] if to is None else f"{PREFIX}node:{to}"
        name = topic.encode()
        head = _HEAD.pack(self.now() + seconds, bytes.fromhex(self.node), len(name))
        return "PUBLISH", channel, self._seal.seal(channel, head + name + message)

    async def _listen(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Hear messages, until cancelled. Whether there is no connection, the pipe's log says."""
        while True:
            connection = self._make()
            try:
                with anyio.CancelScope() as self._hearing:
                    with anyio.fail_after(CONNECT_SECONDS):
                        await connection.connect()
                        await connection.send_command("SUBSCRIBE", *self._channels, check_health=False)
                    self._heard_at = time.monotonic()
                    self._due.set()  # what was said until now was missed
                    task_status.started()
                    task_status = anyio.TASK_STATUS_IGNORED
                    await self._hear_on(connection)
            except (ValkeyError, OSError, EOFError):
                pass
            finally:
                self._heard_at = 0.0
                connection._close()  # pyright: ignore[reportPrivateUsage] - the public way waits
            task_status.started()
            task_status = anyio.TASK_STATUS_IGNORED
            await asyncio.sleep(RECONNECT_SECONDS)

    async def _hear_on(self, connection: StoreConnection) -> None:
        while True:
            kind, channel, data = await connection.read_response(disable_decoding=True, disconnect_on_error=False)
            self._heard_at = time.monotonic()
            if kind == b"message":
                if data:
                    self._hear(channel.decode(), data)
                elif channel == self._channels[0].encode():
                    self._due.set()  # some version is another

    def _hear(self, channel: str, sealed: bytes) -> None:
        message = self._seal.open(channel, sealed)
        if message is None:
            log.warning("a message in the store is not from this gateway's nodes; do all have the same state_keys?")
            return
        until, sender, length = _HEAD.unpack_from(message)
        body = _HEAD.size + length
        if (sender.hex() == self.node and channel == self._channels[0]) or until < self.now():
            return
        for handler in list(self._handlers.get(message[_HEAD.size : body].decode(), ())):
            handler(sender.hex(), message[body:])

    # --- The beat -----------------------------------------------------------------------------------------------------

    async def _beat_on(self) -> None:
        while True:
            with anyio.move_on_after(BEAT_SECONDS):
                await self._due.wait()
            self._due.clear()
            await self._beat()

    async def _watch(self) -> None:
        """Notice what does not answer; beside the beat, which waits for answers itself."""
        while True:
            await asyncio.sleep(BEAT_SECONDS)
            now = time.monotonic()
            self._pipe.look(now)
            if self._heard_at and self._pipe.is_connected and now - self._heard_at > DEAF_SECONDS:
                self._hearing.cancel()

    async def _beat(self) -> None:
        own = self._channels[1]
        before = time.time()
        try:
            arguments = self.node, round(NODE_SECONDS * 1000), own
            now, nodes, versions = await self.do(BEAT, ("nodes", "versions"), arguments, patience=CONNECT_SECONDS)
        except StoreUnavailable:
            return
        self._offset = now / 1000 - (before + time.time()) / 2
        self.nodes = max(1, nodes)
        self._compare({name.decode(): int(version) for name, version in zip(*[iter(versions)] * 2, strict=True)})

    def _compare(self, versions: dict[str, int]) -> None:
        before, self._versions = self._versions, versions
        for name in before.keys() | versions.keys():
            if before.get(name) != versions.get(name):
                for handler in list(self._watchers.get(name, ())):
                    handler()


def library_url(url: str) -> str:
    """The library knows its own names of the schemes only."""
    for ours, theirs in (("rediss://", "valkeys://"), ("redis://", "valkey://")):
        if url.startswith(ours):
            return theirs + url.removeprefix(ours)
    return url


def _expiring(seconds: float | None) -> tuple[Any, ...]:
    return () if seconds is None else ("PX", max(1, round(seconds * 1000)))
