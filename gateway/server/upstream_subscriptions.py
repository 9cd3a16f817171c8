"""What upstreams are asked for, so that listeners hear of resources: each is subscribed to what anybody wants of it.

Where principals have logins of their own, each is subscribed by a connection of theirs (`upstream/own_subscriptions`).
"""

from collections.abc import Mapping
from contextlib import suppress
from typing import Final

import anyio

from gateway.bridge.subscriptions import Subscriber
from gateway.errors import GatewayError
from gateway.pause import Pause
from gateway.server.listeners import Listeners
from gateway.upstream.upstream import Upstream

SUBSCRIBE_SECONDS: Final = 5.0
"""How long an acknowledgement waits for an upstream to take up the subscriptions it is about."""


class UpstreamSubscriptions:
    def __init__(self, listeners: Listeners, upstreams: Mapping[str, Upstream]) -> None:
        self._listeners = listeners
        self._upstreams = upstreams
        self._is_personal: dict[str, bool] = {}
        """Upstream → whether each principal subscribed there by a connection of their own, when that was seen last."""

    async def want(self, changes: Mapping[str, set[str]], listener: Subscriber | None = None) -> None:
        """Have upstreams subscribed to what is wanted now.

        Args:
            changes: upstream → its own URIs, of which more or less are wanted than before; what is done is taken out.
            listener: who wants more.

        Raises:
            GatewayError: an upstream refused one of them, or could not be told.
        """
        viewer = self._listeners.viewers.get(listener) if listener is not None else None
        roots = () if viewer is None else (viewer.principal.root_id,)
        for name, todo in changes.items():
            upstream = self._upstreams.get(name)
            if upstream is None:  # it was removed
                continue
            if (own := upstream.own_subscriptions) is None:
                await upstream.want(self._listeners.subscriptions.wanted(name), todo, roots)
            elif viewer is not None:
                await own.more(viewer.agent, todo)
            else:
                await own.reconcile({uri: self._listeners.wanting(name, uri) for uri in todo})

    async def want_if_possible(self, listener: Subscriber, upstream: str, uris: set[str]) -> None:
        """Have one upstream subscribed to more, unless it refuses or takes too long; `uris` keeps what is not done."""
        with anyio.move_on_after(SUBSCRIBE_SECONDS), suppress(GatewayError):
            await self.want({upstream: uris}, listener)

    async def take_up(self, listener: Subscriber, upstream: str, uris: set[str]) -> None:
        """Subscribe to these at one upstream; each that it refuses, or is too slow for, is dropped."""
        await self.want_if_possible(listener, upstream, uris)
        if uris:
            pause = Pause(turn=self._listeners.large)
            for uri in [uri for uri, (name, own) in listener.resources.items() if name == upstream and own in uris]:
                await pause.if_due()
                self._listeners.subscriptions.unsubscribe(listener, uri)
            await self.give_up({upstream: uris})

    async def give_up(self, resources: Mapping[str, set[str]]) -> None:
        """Nobody waits for these any more; whether an upstream takes note of it is its own affair."""
        with anyio.CancelScope(shield=True), anyio.move_on_after(SUBSCRIBE_SECONDS), suppress(GatewayError):
            await self.want(resources)

    def is_asked_otherwise(self, upstream: Upstream) -> bool:
        """Whether somebody made, or ended, a login for all since this was seen last: `restore` then."""
        is_personal = upstream.own_subscriptions is not None
        return self._is_personal.setdefault(upstream.name, is_personal) is not is_personal

    async def restore(self, upstream: Upstream) -> list[str]:
        """One begins to serve, perhaps in another's place: ask it for what was wanted of that.

        Returns its own URIs whose subscribers are to be told to look again.
        """
        wanted = self._listeners.subscriptions.wanted(upstream.name)
        was_personal = self._is_personal.get(upstream.name, False)
        self._is_personal[upstream.name] = upstream.own_subscriptions is not None
        with suppress(GatewayError):
            if (own := upstream.own_subscriptions) is not None:
                await own.reconcile({uri: self._listeners.wanting(upstream.name, uri) for uri in list(wanted)})
                return []  # each is told by a connection of their own
            if was_personal and upstream.offer.own is not None:
                upstream.offer.own.subscriptions.clear()
            roots = {viewer.principal.root_id for viewer in self._listeners.viewers.values()}
            await upstream.want(wanted, None, roots)
        return list(wanted)
