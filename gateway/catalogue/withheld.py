"""What upstreams offer and nobody has approved: it is not published, and whoever asks for it is told why."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

from gateway.catalogue.catalogue import Catalogue, Owner
from gateway.catalogue.intake import Kind, UpstreamItems
from gateway.catalogue.merge import Prefix, merge
from gateway.catalogue.pins import Change, PinVerdict
from gateway.catalogue.skills import changed_files
from gateway.catalogue.visibility import Names, Selection, View, lists_of
from gateway.upstream.listing import Listing

MAX_HELD_BACK: Final = 64
"""Most catalogues of what is held back that are kept."""


class Withheld:
    """
    Args:
        verdicts: upstream → how what it offers now compares with its pins.
        items_of: the items of an upstream's, of the listing that is chosen from its verdict.
    """

    def __init__(
        self,
        verdicts: Mapping[str, PinVerdict],
        items_of: Callable[[str, Callable[[PinVerdict], Listing]], UpstreamItems],
    ) -> None:
        self._verdicts = verdicts
        self._items_of = items_of
        self._blocked: dict[Names, Mapping[tuple[str, str], Change]] = {}
        """Only of lists of which something is."""
        self._catalogues: dict[tuple[View, Selection], Catalogue] = {}
        self.is_any = False

    def renew(self) -> None:
        """Go by the verdicts as they are now."""
        all_of_them = (each for name, verdict in self._verdicts.items() for each in verdicts_of(name, verdict))
        self._blocked = {
            each: {**_files(verdict.blocked), **verdict.blocked} for each, verdict in all_of_them if verdict.blocked
        }
        self.is_any = bool(self._blocked)
        self._catalogues.clear()

    def is_from(self, upstream: str, selection: Selection) -> bool:
        """Whether anything of these lists is withheld."""
        return lists_of(upstream, selection) in self._blocked

    def change(self, kind: Kind, owner: Owner, selection: Selection) -> Change | None:
        """The unapproved change because of which an item must not be used, or the template that led to it."""
        changes = self._blocked.get(lists_of(owner.upstream, selection)) if self._blocked else None
        if changes is None:
            return None
        return changes.get((kind, owner.original)) or changes.get(("templates", str(owner.item.get("uriTemplate"))))

    def catalogue(self, view: View, selection: Selection, prefix: Prefix) -> Catalogue:
        """What is new and blocked, under the names it would have; made only when something is not found."""
        held = self._catalogues.get((view, selection)) if self._blocked else Catalogue()
        if held is None:
            if len(self._catalogues) >= MAX_HELD_BACK:
                self._catalogues.clear()
            names = [name for name in self._verdicts if view in (None, name) and self.is_from(name, selection)]
            items = [self._items_of(name, partial(_held_back, label=lists_of(name, selection)[1])) for name in names]
            held = merge(items, prefix if view is None else "own") if items else Catalogue()
            self._catalogues[view, selection] = held
        return held


def verdicts_of(name: str, verdict: PinVerdict) -> list[tuple[Names, PinVerdict]]:
    """That of an upstream's main lists, and of each of their variants."""
    return [((name, ""), verdict), *(((name, label), variant) for label, variant in verdict.variants.items())]


def _files(blocked: Mapping[tuple[str, str], Change]) -> dict[tuple[str, str], Change]:
    """The files that skills have other digests of than were approved, or of which they had none."""
    return {
        ("resources", uri): change
        for (kind, _), change in blocked.items()
        if kind == "skills"
        for uri in changed_files(change.old, change.new)
    }


def _held_back(verdict: PinVerdict, label: str) -> Listing:
    return verdict.variants.get(label, verdict).held_back
