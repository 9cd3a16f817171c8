"""What nodes tell each other of the upstreams that all of them have: a list changed, one fails, or works again.

Only of those that are the same server for all, which one is that has a URL: a program that every node starts for itself
says nothing of the others'. Nothing of it is more than a hint. A node that hears of a change fetches the lists itself;
one that hears of failures needs only one of its own to leave the upstream alone, and none to try it again.

A change that many nodes hear of at the same time, one of them tells the others: whoever hears it while it waits for its
turn to speak has nothing left to say.
"""

import asyncio
import random
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

import anyio

from gateway import jsonrpc
from gateway.config.models import ServerConfig
from gateway.protocol import CHANGE_NOTIFICATIONS
from gateway.store.shared import Store
from gateway.upstream.breaker import Breaker, BreakerState

if TYPE_CHECKING:
    from gateway.upstream.upstream import Upstream

TOPIC: Final = "upstreams"
TURN_SECONDS: Final = 0.02
"""For each node beyond two, how much longer a change may wait to be told."""
MAX_TURN_SECONDS: Final = 0.4

_METHODS: Final = frozenset(CHANGE_NOTIFICATIONS.values())


class Peers:
    """
    Args:
        upstreams: those that serve now, at any time.
        identify: a name of the server that a configuration leads to, the same on every node.
    """

    def __init__(
        self, store: Store, upstreams: Mapping[str, "Upstream"], identify: Callable[[ServerConfig], str]
    ) -> None:
        self._store = store
        self._upstreams = upstreams
        self._identify = identify
        self._names: dict[str, tuple[ServerConfig, str]] = {}
        self._due: dict[tuple[str, str], asyncio.TimerHandle] = {}
        store.on_message(TOPIC, self._hear)

    def list_changed(self, upstream: "Upstream", method: str) -> None:
        """The upstream said so to this node."""
        if upstream.config.url is None:
            return
        news = self._name(upstream), method
        if news not in self._due:
            most = min(MAX_TURN_SECONDS, TURN_SECONDS * (self._store.nodes - 2))
            wait = random.uniform(0, max(0.0, most))  # noqa: S311 - a turn is no secret
            self._due[news] = asyncio.get_running_loop().call_later(wait, self._tell_of_change, news)

    def breaker_changed(self, upstream: "Upstream", breaker: Breaker) -> None:
        """The upstream's breaker for all has another state."""
        if upstream.config.url is None or breaker.state is BreakerState.HALF_OPEN:
            return
        wait = breaker.retry_after(anyio.current_time())
        self._tell({"server": self._name(upstream), "fails": wait, "reason": breaker.reason})

    def _name(self, upstream: "Upstream") -> str:
        config, name = self._names.get(upstream.name, (None, ""))
        if config is not upstream.config:
            name = self._identify(upstream.config)
            self._names[upstream.name] = upstream.config, name
        return name

    def _tell_of_change(self, news: tuple[str, str]) -> None:
        del self._due[news]
        server, method = news
        self._tell({"server": server, "changed": method})

    def _tell(self, news: Mapping[str, Any]) -> None:
        self._store.tell(TOPIC, jsonrpc.dumps(news))

    def _hear(self, sender: str, message: bytes) -> None:
        news = jsonrpc.loads(message)
        server, method = news["server"], news.get("changed")
        if method is not None and (mine := self._due.pop((server, method), None)) is not None:
            mine.cancel()
        for upstream in list(self._upstreams.values()):
            if upstream.config.url is None or self._name(upstream) != server:
                continue
            if method in _METHODS:
                upstream.on_peer_change(method)
            elif "fails" in news:
                upstream.on_peer_breaker(news["fails"])
