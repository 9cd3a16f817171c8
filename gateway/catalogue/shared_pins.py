"""Pins that nodes share: what one node pins or somebody approves at one is every node's.

Each node keeps its file besides, which is what it has when the store is away. Where a node that was away says something
else than the store, the store is right; what it alone knows, it adds. An approval counts as something new.
"""

from collections.abc import Callable, Mapping
from hashlib import blake2b
from typing import Final

import anyio
import anyio.to_thread
import structlog

from gateway import jsonrpc
from gateway.catalogue.pinning import Pinning
from gateway.errors import StoreUnavailable
from gateway.store import pins as pin_file
from gateway.store.pins import Pins
from gateway.store.shared import Store
from gateway.store.table import Table

log = structlog.stdlib.get_logger("gateway.pins")

TABLE: Final = "pins"
LOOK_SECONDS: Final = 0.5
"""How often it is looked whether this node has pinned anything."""
START_SECONDS: Final = 1.0
"""How long the first upstream waits for what others have pinned."""


class SharedPins:
    """Keeps a node's pins and those of the store the same."""

    def __init__(self, store: Store, pinning: Pinning) -> None:
        self._table = Table(store, TABLE)
        self._pinning = pinning
        self._agreed: Mapping[str, Pins] = {}
        """What this node and the store had when they were compared last."""
        self._compared: Mapping[str, Pins] | None = None
        """This node's pins then, as an object: they are replaced whenever they change."""
        self._changed = anyio.Event()
        self._is_due = True
        self._turn = anyio.Lock()
        self._table.on_change(self._on_change)

    async def begin(self) -> None:
        """Know what others have pinned before anything is compared with it, if that can be known soon."""
        with anyio.move_on_after(START_SECONDS):
            await self.compare()

    async def run(self, on_pins: Callable[[], None]) -> None:
        """
        Args:
            on_pins: told when this node's pins are others, so that all listings are judged anew.
        """
        while True:
            with anyio.move_on_after(LOOK_SECONDS):
                await self._changed.wait()
            self._changed = anyio.Event()
            if (self._is_due or self._pinning.known is not self._compared) and await self.compare():
                on_pins()

    async def compare(self) -> bool:
        """Make both the same; returns whether this node's are others than they were."""
        async with self._turn:
            self._is_due = False
            try:
                stored = await anyio.to_thread.run_sync(_decoded, await self._table.load())
                own = self._pinning.known
                if own is None:
                    return False  # a file that cannot be read is not gone by
                result = _joined(stored, own, self._agreed)
                fresh = {key: pins for key, pins in result.items() if pins != stored.get(key)}
                if fresh:
                    await self._table.put(await anyio.to_thread.run_sync(_encoded, fresh))
            except StoreUnavailable as error:
                self._is_due = True
                log.debug("pins not compared with the store", reason=error.message)
                return False
            differs = result != own
            if differs:
                self._pinning.adopt(result)
            self._agreed, self._compared = result, self._pinning.known
            return differs

    def _on_change(self) -> None:
        self._is_due = True
        self._changed.set()


def _joined(stored: Mapping[str, Pins], own: Mapping[str, Pins], agreed: Mapping[str, Pins]) -> dict[str, Pins]:
    """The pins of both. Where they differ those of the store, unless they are as they were and this node's are not:
    somebody has approved something here."""
    result = pin_file.joined(stored, own)
    for key, pins in own.items():
        if key in agreed and pins != agreed[key] and stored.get(key) == agreed[key]:
            result[key] = pins
    return result


async def publish(store: Store, pins: Mapping[str, Pins]) -> None:
    """Have all nodes go by these.

    Raises:
        StoreUnavailable: they could not be told.
    """
    await Table(store, TABLE).put(_encoded(pins))


def _encoded(pins: Mapping[str, Pins]) -> dict[str, bytes]:
    return {
        blake2b(key.encode(), digest_size=16).hexdigest(): jsonrpc.dumps([key, pin_file.document(each)])
        for key, each in pins.items()
    }


def _decoded(fields: Mapping[str, bytes]) -> dict[str, Pins]:
    pins: dict[str, Pins] = {}
    for value in fields.values():
        try:
            key, document = jsonrpc.loads(value, len(value))
            pins[key] = pin_file.from_document(document)
        except (ValueError, TypeError, AttributeError, RecursionError):
            log.warning("pins in the store are of another version; they are ignored")
    return pins
