"""All upstreams, and how one configuration of them becomes another while they serve.

A changed upstream is two for a while: the one that serves, and its successor, which connects beside it. They change
places as soon as the successor is ready, or at once if there is nothing to lose; then the old one is let go. One that
was removed serves nobody new. What is in flight at either is waited for.
"""

import math
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any

import anyio
import structlog
from anyio.abc import TaskGroup

from gateway.config.models import ServerConfig
from gateway.config.reload.diff import adjusted, needs_successor
from gateway.upstream.listing import Listing
from gateway.upstream.upstream import Upstream

log = structlog.stdlib.get_logger("gateway.upstream")

Make = Callable[[str, ServerConfig, Listing | None], Upstream]
"""Makes an upstream from its name, its configuration, and what it is known to offer."""


class UpstreamManager:
    """
    Args:
        make: makes an upstream.
        is_same: whether two configurations lead to the same server, so that what is known of one holds for the other.
        on_change: told when others serve than before.
        restore_subscriptions: called with each that begins to serve while agents are there, before its predecessor is
            let go.
    """

    def __init__(
        self,
        make: Make,
        is_same: Callable[[ServerConfig, ServerConfig], bool],
        on_change: Callable[[], None],
        restore_subscriptions: Callable[[Upstream], Coroutine[Any, Any, None]],
    ) -> None:
        self.serving: dict[str, Upstream] = {}
        """By name, in the order of the configuration. Always the same dict."""
        self._make = make
        self._is_same = is_same
        self._on_change = on_change
        self._restore_subscriptions = restore_subscriptions
        self.runs = anyio.Event()
        """Set once `apply` may be called."""
        self._tasks: TaskGroup | None = None

    async def run(self) -> None:
        """The owner of them all. Ends by cancellation."""
        async with anyio.create_task_group() as self._tasks:
            for upstream in self.serving.values():
                self._tasks.start_soon(upstream.run)
            self.runs.set()
            await anyio.sleep_forever()

    def add(self, name: str, config: ServerConfig, listing: Listing | None = None) -> None:
        """A new one; before `run` it waits for that."""
        upstream = self.serving[name] = self._make(name, config, listing)
        if self._tasks is not None:
            self._tasks.start_soon(upstream.run)

    def apply(self, servers: Mapping[str, ServerConfig], drain_timeout: float) -> None:
        """Become these, whatever it is now. Returns at once; `run` does the waiting."""
        for name in [name for name in self.serving if name not in servers]:
            self._remove(name, drain_timeout)
        for name, config in servers.items():
            upstream = self.serving.get(name)
            if upstream is None:
                self.add(name, config)
                self._spawn(self._restore_subscriptions, self.serving[name])
            else:
                self._change(upstream, config)
        self._sort(servers)
        self._on_change()

    def _remove(self, name: str, drain_timeout: float) -> None:
        upstream = self.serving.pop(name)
        _call_off_successor(upstream)
        self._spawn(self._let_go, upstream, drain_timeout)

    def _change(self, upstream: Upstream, config: ServerConfig) -> None:
        if upstream.successor is not None and not needs_successor(upstream.successor.config, config):
            upstream.successor.adjust(config)
        else:
            _call_off_successor(upstream)
            if needs_successor(upstream.config, config):  # or what was changed before is taken back
                self._replace(upstream, config)
        # A rule that takes something away does not wait until a successor is ready.
        upstream.adjust(adjusted(upstream.config, config))

    def _replace(self, old: Upstream, config: ServerConfig) -> None:
        known = old.known if self._is_same(old.config, config) else None
        new = old.successor = self._make(old.name, config, known)
        self._spawn(new.run)
        self._spawn(self._hand_over, old, new)

    async def _hand_over(self, old: Upstream, new: Upstream) -> None:
        await _either(
            lambda: new.until(lambda: new is not old.successor or (new.is_ready and new.listing is not None)),
            lambda: old.until(lambda: not old.is_ready),
        )
        if new is not old.successor:
            return  # called off
        old.successor = None
        self.serving[new.name] = new
        log.info("upstream replaced", upstream=new.name)
        self._on_change()
        await self._restore_subscriptions(new)
        # Nobody asked its calls to stop: they have as long as their own deadlines give them.
        await self._let_go(old, math.inf)

    async def _let_go(self, upstream: Upstream, patience: float) -> None:
        await upstream.drain(patience)
        upstream.stop()

    def _sort(self, order: Mapping[str, object]) -> None:
        """As the file has them. Metrics are read in a thread, and must not meet an empty dict meanwhile."""
        for name in order:
            self.serving[name] = self.serving.pop(name)

    def _spawn(self, work: Callable[..., Coroutine[Any, Any, None]], *args: object) -> None:
        assert self._tasks is not None, "reloads come while it runs"
        self._tasks.start_soon(work, *args)


def _call_off_successor(upstream: Upstream) -> None:
    """A later configuration wants another, or none."""
    if upstream.successor is not None:
        successor, upstream.successor = upstream.successor, None
        successor.stop()


async def _either(*waits: Callable[[], Awaitable[None]]) -> None:
    """Wait for whichever is first."""

    async def one(wait: Callable[[], Awaitable[None]]) -> None:
        await wait()
        tg.cancel_scope.cancel()

    async with anyio.create_task_group() as tg:
        for wait in waits:
            tg.start_soon(one, wait)
