"""The merged catalogues that are kept: of some parts together each, the one that was used last for longest."""

from collections import OrderedDict
from collections.abc import Set
from typing import Final

from gateway.catalogue.catalogue import Catalogue
from gateway.catalogue.merge import Prefix
from gateway.catalogue.ownership import Ownership
from gateway.catalogue.parts import Part, join
from gateway.catalogue.shapes import ViewShape

MAX_JOINED_ITEMS: Final = 250_000
"""Most items in the merged catalogues that are kept, all together; the one unused for longest goes first."""


class JoinedCatalogues:
    def __init__(self) -> None:
        self._joined: OrderedDict[tuple[ViewShape | None, tuple[Part, ...]], Catalogue] = OrderedDict()
        self._items = 0

    def of(
        self, parts: tuple[Part, ...], prefix: Prefix, ownership: Ownership, shape: ViewShape | None = None
    ) -> Catalogue:
        """The catalogue of these parts, in that shape; as it was made, until `clear`."""
        catalogue = self._joined.get((shape, parts))
        if catalogue is None:
            catalogue = (
                join(parts, prefix, ownership) if shape is None else shape.apply(self.of(parts, prefix, ownership))
            )
            self._joined[shape, parts] = catalogue
            self._items += catalogue.size
            while self._items > MAX_JOINED_ITEMS and len(self._joined) > 1:
                self._items -= self._joined.popitem(last=False)[1].size
        else:
            self._joined.move_to_end((shape, parts))
        return catalogue

    def drop(self, gone: Set[Part]) -> None:
        """Forget those that have one of these parts in them."""
        for key in [key for key in self._joined if not gone.isdisjoint(key[1])]:
            self._items -= self._joined.pop(key).size

    def clear(self) -> None:
        """The prefix or the owners are others now."""
        self._joined.clear()
        self._items = 0
