"""Subscriptions at a handshake-era upstream: one request for each resource, and one when nobody wants it any more."""

from collections.abc import Set
from typing import TYPE_CHECKING, Final

import anyio

from gateway.errors import UpstreamError
from gateway.upstream.pacer import Pacer

if TYPE_CHECKING:
    from gateway.upstream.session import UpstreamSession
    from gateway.upstream.transport.pending import CallOptions

SUBSCRIPTIONS_PER_SECOND: Final = 1_000
SUBSCRIPTIONS_AT_ONCE: Final = 100
"""How fast one upstream is subscribed to resources, whoever asks for how many."""


def pacer() -> Pacer:
    """One for all connections of an upstream."""
    return Pacer(SUBSCRIPTIONS_PER_SECOND, SUBSCRIPTIONS_AT_ONCE)


class SubscribeRequests:
    """What one connection was told that is wanted.

    Args:
        wanted: own URIs. The owner replaces it, or changes what it is a view of, and then calls `take_up`.
    """

    def __init__(self, session: "UpstreamSession", wanted: Set[str], pacer: Pacer, timeout: float) -> None:
        self.wanted = wanted
        self._session = session
        self._pacer = pacer
        self._timeout = timeout
        self._subscribed: set[str] = set()
        self._asking: dict[str, anyio.Event] = {}
        """What it is just being told, by somebody who may give up before it has answered."""

    def differences(self) -> set[str]:
        """What it has yet to be told."""
        return set(self._subscribed ^ self.wanted)

    async def take_up(self, todo: set[str]) -> None:
        """Tell it of these, which are new or gone; what is done is taken out.

        Raises:
            UpstreamError: it refused one of them, which says nothing of the others.
        """
        refusal: UpstreamError | None = None
        for uri in sorted(todo):
            try:
                await self.reconcile(uri)
            except UpstreamError as error:
                refusal = refusal or error
            else:
                todo.discard(uri)
        if refusal is not None:
            raise refusal

    async def reconcile(self, uri: str) -> None:
        """Have it asked for, or not any more, as is wanted; once for all who want it. Who asked first may
        give up; then the next does."""
        while self._differs(uri):
            if (asking := self._asking.get(uri)) is not None:
                await asking.wait()
                continue
            asking = self._asking[uri] = anyio.Event()
            try:
                if delay := self._pacer.delay(anyio.current_time()):
                    await anyio.sleep(delay)
                if self._differs(uri):
                    await self._ask(uri)
            finally:
                asking.set()
                del self._asking[uri]

    def _differs(self, uri: str) -> bool:
        return (uri in self._subscribed) is not (uri in self.wanted)

    async def _ask(self, uri: str) -> None:
        options: CallOptions = {"timeout": self._timeout}
        if uri in self.wanted:
            await self._session.request("resources/subscribe", {"uri": uri}, options)
            self._subscribed.add(uri)
        else:
            self._subscribed.discard(uri)  # whatever becomes of it, it is not asked for twice
            await self._session.request("resources/unsubscribe", {"uri": uri}, options)
