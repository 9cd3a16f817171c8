"""Who logs out of a server has what they saw first there forgotten: at all nodes, each of which has it in memory."""

from collections.abc import Callable
from typing import Final

import msgspec

from gateway.catalogue.own_pins import OwnPins
from gateway.config.models import ServerConfig
from gateway.store.shared import Store
from gateway.upstream.personal import label_of

TOPIC: Final = "own-pins"


class OwnPinNews:
    """
    Args:
        on_pins: told when pins are others, so that all listings are judged anew.
    """

    def __init__(self, store: Store, own: OwnPins, on_pins: Callable[[], None]) -> None:
        self._store = store
        self._own = own
        self._on_pins = on_pins
        store.on_message(TOPIC, self._hear)

    async def logged_out(self, server: ServerConfig, upstream: str, root: str) -> None:
        """A principal (the id of its root) logged out here."""
        label = label_of(root)
        await self._own.forget(server, upstream, label)
        self._store.tell(TOPIC, msgspec.json.encode([upstream, label]))
        self._on_pins()

    def _hear(self, node: str, message: bytes) -> None:
        try:
            upstream, label = msgspec.json.decode(message, type=tuple[str, str])
        except msgspec.MsgspecError:
            return
        self._own.let_go(upstream, label)
        self._on_pins()
