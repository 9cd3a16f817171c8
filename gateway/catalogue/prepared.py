"""Catalogues of an upstream's items that are made before they are needed, beside the event loop."""

from dataclasses import dataclass

import anyio.to_thread

from gateway.catalogue.catalogue import Catalogue
from gateway.catalogue.intake import CompiledToolRules, UpstreamItems
from gateway.catalogue.merge import Prefix, merge
from gateway.catalogue.ownership import Ownership
from gateway.catalogue.pins import PinVerdict
from gateway.catalogue.visibility import Names
from gateway.catalogue.withheld import verdicts_of


@dataclass(frozen=True, slots=True)
class Made:
    items: UpstreamItems
    prefix: Prefix
    ownership: Ownership
    own: Catalogue
    merged: Catalogue


class Prepared:
    def __init__(self) -> None:
        self._made: dict[Names, Made] = {}

    async def make(
        self, name: str, verdict: PinVerdict, rules: CompiledToolRules, prefix: Prefix, ownership: Ownership
    ) -> None:
        """Those of an upstream's main lists, and of their variants."""
        for each, one in verdicts_of(name, verdict):
            items = UpstreamItems(name, one.listing, rules)
            own = await anyio.to_thread.run_sync(merge, [items], "own")
            merged = await anyio.to_thread.run_sync(merge, [items], prefix, ownership)
            self._made[each] = Made(items, prefix, ownership, own, merged)

    def find(self, each: Names, items: UpstreamItems, prefix: Prefix, ownership: Ownership) -> Made | None:
        """What was made of the same, if it would come out the same now."""
        made = self._made.get(each)
        if made is None or made.items != items or made.prefix != prefix or ownership.differs(made.ownership, each[0]):
            return None
        return made

    def clear(self) -> None:
        self._made.clear()
