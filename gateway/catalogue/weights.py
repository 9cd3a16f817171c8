"""What the lists of each view cost a model that is shown them, in tokens. An estimate: models count differently."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from gateway import jsonrpc
from gateway.catalogue.adapted import all_shown
from gateway.catalogue.catalogue import Catalogue
from gateway.catalogue.kept_results import READER, readable
from gateway.catalogue.library import CatalogueViews
from gateway.catalogue.visibility import View, Visibility
from gateway.upstream.listing import Item

if TYPE_CHECKING:
    from gateway.dialects.dialect import SchemaDialect

BYTES_A_TOKEN: Final = 4
SHOWN: Final = ("name", "description", "inputSchema")
"""What of a tool clients put before their models."""

Tools = Sequence[Item]


class CatalogueWeights:
    """Weighs the tools of each view. What has not changed is not weighed again."""

    def __init__(self) -> None:
        self._weighed: dict[tuple[str, bool], tuple[Tools, float]] = {}
        """(upstream, whether in the merged view) → its tools there, and what they weigh."""
        self._shaped: dict[str, tuple[Tools, SchemaDialect | None, float]] = {}
        """Path → the same, of a view in a shape of its own, and for which models it is."""

    def of(
        self, views: Mapping[str, tuple[Tools, Tools]], shaped: Mapping[str, Catalogue], own: Tools = ()
    ) -> dict[tuple[str], float]:
        """Tokens by view (its path). Takes long where there are many tools: call it beside the event loop.

        Args:
            views: by upstream, its tools in its own view, and those it contributes to the merged one.
            shaped: by path, the views that show the merged one otherwise.
            own: the gateway's own in the merged one.
        """
        for gone in [path for path in self._shaped if path not in shaped]:
            del self._shaped[gone]
        for gone in [key for key in self._weighed if key[0] not in views]:
            del self._weighed[gone]
        merged = sum(self._weight(name, True, merged) for name, (_, merged) in views.items())
        tokens = {("/mcp",): merged + sum(map(tokens_of, own))}
        tokens |= {(f"/mcp/{name}",): self._weight(name, False, own) for name, (own, _) in views.items()}
        return tokens | {(path,): self._weight_of(path, catalogue) for path, catalogue in shaped.items()}

    def _weight_of(self, path: str, catalogue: Catalogue) -> float:
        known, tools, dialect = self._shaped.get(path), catalogue.tools, catalogue.dialect
        if known is None or known[0] is not tools or known[1] is not dialect:
            weight = sum(map(tokens_of, all_shown(catalogue, tools)))
            known = self._shaped[path] = tools, dialect, weight
        return known[2]

    def _weight(self, name: str, is_merged: bool, tools: Tools) -> float:
        known = self._weighed.get((name, is_merged))
        if known is None or known[0] is not tools:
            known = tools, sum(map(tokens_of, tools))
            self._weighed[name, is_merged] = known
        return known[1]


def tokens_of(tool: Item) -> float:
    """What one tool costs."""
    return len(shown_bytes(tool)) / BYTES_A_TOKEN


def shown_bytes(tool: Item) -> bytes:
    """What of a tool clients put before their models, as JSON."""
    return jsonrpc.dumps({key: tool[key] for key in SHOWN if key in tool})


def tools_of(library: CatalogueViews) -> dict[str, tuple[Tools, Tools]]:
    """What there is to weigh. On the event loop."""
    views = ((name, readable(own, is_sorted=False), merged) for name, own, merged in library.contributions())
    return {name: (own.tools, merged.tools) for name, own, merged in views}


def own_tools_of(library: CatalogueViews) -> Tools:
    """The gateway's own tools in the merged view. On the event loop."""
    return (READER,) if any(merged.keeps_results for _, _, merged in library.contributions()) else ()


def shaped_of(library: CatalogueViews, visibility_of: Callable[[View], Visibility]) -> dict[str, Catalogue]:
    """The profiles, and the merged view if it does not list all, by path. On the event loop.

    Args:
        visibility_of: what somebody sees of a view whom nothing limits.
    """
    return {
        "/mcp" if view is None else f"/mcp/{view}": library.view(view, visibility_of(view)) for view in library.shaped
    }
