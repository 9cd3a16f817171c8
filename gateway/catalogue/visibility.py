"""What somebody may see of the catalogue: a view, the lists of each upstream in it, and which of their items."""

from collections.abc import Hashable
from typing import Protocol

from gateway.catalogue.intake import Kind

View = str | None
"""An upstream's name, a profile's, or None for the merged catalogue."""

Selection = tuple[tuple[str, str], ...]
"""`(upstream, label)` of each variant that a client sees instead of the upstream's main lists."""

Names = tuple[str, str]
"""`(upstream, label)`; the label of its main lists is empty."""


class Visibility(Protocol):
    """What somebody may see. Equal ones share catalogues, so they must be hashable by what they allow."""

    @property
    def unrestricted(self) -> bool: ...

    @property
    def is_shut(self) -> bool:
        """Whether its credential is for other profiles than there are, or than the one that it looks at."""
        ...

    @property
    def within(self) -> Hashable:
        """What decides which items of an upstream it sees; None: nothing does. Equal ones see the same of each."""
        ...

    def sees_upstream(self, upstream: str) -> bool:
        """Whether the credential includes the upstream; what of it may be used is another matter."""
        ...

    def admits(self, upstream: str, public: str, kind: Kind | None = None, own: str = "") -> bool:
        """Whether the item of that public name (tools, prompts) or URI (resources, templates) may be used.

        Args:
            own: its URI as the upstream knows it.
        """
        ...

    def denies(self, public: str) -> bool:
        """Whether a rule forbids an item by that name, whatever upstream it belongs to."""
        ...

    def __hash__(self) -> int: ...


def lists_of(name: str, selection: Selection) -> Names:
    """Which lists of an upstream somebody sees who selected these."""
    return next((each for each in selection if each[0] == name), (name, ""))
