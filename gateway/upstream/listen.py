"""Subscriptions at a modern upstream: `subscriptions/listen` streams, each replaced when what it is for changes.

The first is for changes of lists and for resources. Where those are very many, further streams share the rest: what is
wanted of a stream is sent whole each time it changes, so no stream may be for too much.
"""

from collections.abc import Callable, Collection, Mapping, Set
from typing import TYPE_CHECKING, Any, Final, cast

import anyio
import structlog
from anyio.abc import TaskGroup

from gateway.errors import GatewayError, UpstreamError
from gateway.jsonrpc import as_object
from gateway.upstream.backoff import Backoff
from gateway.upstream.timing import USUAL, UpstreamTiming

if TYPE_CHECKING:
    from gateway.upstream.session import UpstreamSession
    from gateway.upstream.transport.pending import CallOptions

log = structlog.stdlib.get_logger("gateway.upstream")

MAX_URIS: Final = 1_000
MAX_BYTES: Final = 128 * 1024
"""Most resources of one stream, and most bytes of their URIs: what this gateway, too, takes of one that listens."""
URIS_PER_SECOND: Final = 20_000
"""How often what a stream is for changes, at most: the more it is, the less often."""

OnFrame = Callable[[str, dict[str, Any]], None]
"""`(method, params)` of a notification."""

OnGap = Callable[[Collection[str], bool], None]
"""`(resources, whether lists, too)`: what may have changed while nobody listened."""


class ListenStreams:
    """All streams over one connection.

    Args:
        wanted: own URIs. The owner replaces it, or changes what it is a view of, and then calls `take_up`.
        lists: what the first stream is for besides, as its filter says it.
        on_hearing: told when we hear of changes, or never will.
        suspect: told that the upstream may be gone.
    """

    def __init__(
        self,
        session: "UpstreamSession",
        wanted: Set[str],
        lists: Mapping[str, Any],
        on_frame: OnFrame,
        on_gap: OnGap,
        on_hearing: Callable[[], None],
        suspect: Callable[[], None],
        timing: UpstreamTiming = USUAL,
    ) -> None:
        self.wanted = wanted
        self.session = session
        self.on_frame = on_frame
        self.on_gap = on_gap
        self.on_hearing = on_hearing
        self.suspect = suspect
        self.timing = timing
        self._tasks: TaskGroup | None = None
        self._streams = [_Stream(self, lists)]
        self._of: dict[str, _Stream] = {}
        for uri in sorted(wanted):
            self._add(uri)
        for stream in self._streams:
            stream.has_gap = True  # whatever changed while there was no connection

    @property
    def hears(self) -> bool:
        """Whether we would hear of a change of lists."""
        return self._streams[0].hears

    async def run(self) -> None:
        """Keep the streams open, until cancelled."""
        async with anyio.create_task_group() as self._tasks:
            for stream in self._streams:
                self._tasks.start_soon(stream.run)

    def differences(self) -> set[str]:
        """What no stream is yet, or any longer has to be, for."""
        return set(self._of.keys() ^ self.wanted)

    async def take_up(self, todo: set[str]) -> None:
        """Listen to these, which are new, or no longer, which are gone; what is done is taken out.

        Raises:
            UpstreamError: it left one of them out of what it acknowledged.
        """
        versions: dict[_Stream, int] = {}
        for uri in sorted(todo):
            stream = self._of.get(uri)
            if uri not in self.wanted:
                if stream is not None:
                    self._discard(uri)
                todo.discard(uri)
            else:
                stream = stream or self._add(uri)
                versions[stream] = stream.version
        if self._tasks is None:
            todo.clear()  # all are taken up by `run`
        refused = [uri for stream, version in versions.items() for uri in await stream.settled(version, todo)]
        if refused:
            raise UpstreamError(-32002, f"The server does not listen to {refused[0]}")

    def _add(self, uri: str) -> "_Stream":
        stream = next((each for each in reversed(self._streams) if each.has_room(uri)), None)
        if stream is None:
            stream = _Stream(self, {})
            self._streams.append(stream)
            if self._tasks is not None:
                self._tasks.start_soon(stream.run)
        self._of[uri] = stream
        stream.add(uri)
        return stream

    def _discard(self, uri: str) -> None:
        self._of.pop(uri).discard(uri)


class _Stream:
    """One at a time; when what is wanted of it changes, the next is open before the last is closed."""

    def __init__(self, streams: ListenStreams, lists: Mapping[str, Any]) -> None:
        self.version = 0
        self.has_gap = False
        """Whether there was nobody to hear of a change, so that there may have been one."""
        self.hears = False
        self._streams = streams
        self._lists = lists
        self._uris: dict[str, int] = {}
        """With their sizes."""
        self._size = 0
        self._refused: Set[str] = frozenset()
        self._changed = anyio.Event()
        self._settled_version = -1
        self._settled = anyio.Event()

    def has_room(self, uri: str) -> bool:
        return not self._uris or (len(self._uris) < MAX_URIS and self._size + len(uri) <= MAX_BYTES)

    def add(self, uri: str) -> None:
        self._uris[uri] = len(uri)
        self._size += len(uri)
        self._change()

    def discard(self, uri: str) -> None:
        self._size -= self._uris.pop(uri)
        self._change()

    def _change(self) -> None:
        self.version += 1
        self._changed.set()

    async def settled(self, version: int, todo: set[str]) -> list[str]:
        """Wait until it is known what the upstream makes of what the stream was for then, or until it is too slow to
        say; takes out of `todo` what the stream is for, and returns those of it that were refused."""
        with anyio.move_on_after(self._streams.timing.acknowledge_seconds):
            while self._settled_version < version:
                await self._settled.wait()
        mine = [uri for uri in todo if uri in self._uris]
        refused = [uri for uri in mine if uri in self._refused]
        todo.difference_update(mine)
        todo.update(refused)
        return refused

    async def run(self) -> None:
        last = anyio.CancelScope()
        async with anyio.create_task_group() as tg:
            while True:
                self._changed = anyio.Event()
                version, settled, scope = self.version, anyio.Event(), anyio.CancelScope()
                if wanted := self._filter():
                    tg.start_soon(self._open, wanted, settled, scope)
                    with anyio.move_on_after(self._streams.timing.acknowledge_seconds):
                        await settled.wait()
                self._settled_version = version
                self._settled.set()
                self._settled = anyio.Event()
                self._streams.on_hearing()
                last.cancel()
                last = scope
                opened_at = anyio.current_time()
                await self._changed.wait()
                # Each change sends everything that is wanted of it once more.
                rest = self._streams.timing.relisten_seconds + len(self._uris) / URIS_PER_SECOND
                await anyio.sleep(max(0.0, opened_at + rest - anyio.current_time()))

    def _filter(self) -> dict[str, Any]:
        return {**self._lists, **({"resourceSubscriptions": sorted(self._uris)} if self._uris else {})}

    async def _open(self, wanted: dict[str, Any], settled: anyio.Event, scope: anyio.CancelScope) -> None:
        """Keep one stream open. `settled` is set when it is acknowledged, or cannot be opened."""
        backoff, is_refused, session = Backoff(self._streams.timing), False, self._streams.session

        def on_frame(method: str, params: dict[str, Any] | None) -> None:
            if method == "notifications/subscriptions/acknowledged":
                self._refused = _left_out(wanted, params or {})
                settled.set()
            self._on_hearing()
            if method != "notifications/subscriptions/acknowledged":
                self._streams.on_frame(method, params or {})

        with scope:
            while not is_refused:
                opened_at = anyio.current_time()
                try:
                    options: CallOptions = {"on_notification": on_frame}
                    await session.request("subscriptions/listen", {"notifications": wanted}, options)
                except UpstreamError as error:
                    log.warning("listen refused", upstream=session.connection.upstream, reason=error.message)
                    is_refused = True
                except GatewayError:
                    self._streams.suspect()
                self.hears, self.has_gap = False, True
                settled.set()
                await anyio.sleep(backoff.after(anyio.current_time() - opened_at, 1.0))
        settled.set()

    def _on_hearing(self) -> None:
        """We hear of changes. If we did not before, there may have been some."""
        self.hears = True
        if self.has_gap:
            self.has_gap = False
            self._streams.on_gap(list(self._uris), bool(self._lists))
        self._streams.on_hearing()


def _left_out(wanted: Mapping[str, Any], acknowledged: Mapping[str, Any]) -> Set[str]:
    """The resources that an upstream does not listen to for us. One that says nothing of them, or names as many as were
    asked for in spellings of its own, listens to all."""
    asked: list[str] = wanted.get("resourceSubscriptions", [])
    said: object = as_object(acknowledged.get("notifications")).get("resourceSubscriptions")
    if not isinstance(said, list) or len(cast("list[object]", said)) >= len(asked):
        return frozenset()
    return frozenset(asked).difference(uri for uri in cast("list[object]", said) if isinstance(uri, str))
