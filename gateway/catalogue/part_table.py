"""Which parts there are now: what each upstream contributes to each view, its main lists and their variants."""

from collections.abc import Iterable

from gateway.catalogue.parts import Part
from gateway.catalogue.visibility import Names, Selection, lists_of


class PartTable:
    def __init__(self) -> None:
        self.own: dict[str, Part] = {}
        """Upstream → its own view."""
        self.merged: dict[str, Part] = {}
        """Upstream → what it contributes to the merged view."""
        self.offered: dict[str, Part] = {}
        """The same of all upstreams; of one that is away, as it was."""
        self.varied: dict[Names, tuple[Part, Part]] = {}
        """Of each variant, what `own` and `merged` have of the main lists."""
        self.labels: dict[str, frozenset[str]] = {}
        """Upstream → the labels of clients to which it offers something else; only of those that do."""

    def set(self, names: Names, own: Part, merged: Part) -> None:
        name, label = names
        if label:
            self.varied[names] = own, merged
            self.labels[name] = self.labels.get(name, frozenset()) | {label}
        else:
            self.own[name] = own
            self.merged[name] = self.offered[name] = merged

    def parts_of(self, name: str) -> dict[Names, tuple[Part, Part]]:
        """All parts of one upstream."""
        if name not in self.own:
            return {}
        varied = {(name, label): self.varied[name, label] for label in self.labels.get(name, ())}
        return {(name, ""): (self.own[name], self.merged[name]), **varied}

    def own_part(self, name: str, selection: Selection) -> Part | None:
        varied = self.varied.get(lists_of(name, selection)) if selection else None
        return varied[0] if varied is not None else self.own.get(name)

    def merged_parts(self, selection: Selection) -> Iterable[Part]:
        if not selection:
            return self.merged.values()
        varied = ((part, self.varied.get(lists_of(name, selection))) for name, part in self.merged.items())
        return (part if other is None else other[1] for part, other in varied)

    def offers_of(self, name: str) -> list[Part]:
        """What an upstream contributes to the merged view, and each variant of that; of one that is away, as it was."""
        variants = (self.varied[name, label][1] for label in self.labels.get(name, ()))
        return [part for part in (self.offered.get(name), *variants) if part is not None]

    def remove(self, name: str) -> None:
        """It lists nothing now."""
        for label in self.labels.pop(name, ()):
            self.varied.pop((name, label), None)
        self.own.pop(name, None)
        self.merged.pop(name, None)

    def forget(self, name: str) -> None:
        """It is no longer configured."""
        self.remove(name)
        self.offered.pop(name, None)
