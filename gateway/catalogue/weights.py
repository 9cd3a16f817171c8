"""What the lists of each view cost a model that is shown them, in tokens. An estimate: models count differently."""

from collections.abc import Mapping, Sequence
from typing import Final

from gateway import jsonrpc
from gateway.catalogue.library import CatalogueViews
from gateway.upstream.listing import Item

BYTES_A_TOKEN: Final = 4
SHOWN: Final = ("name", "description", "inputSchema")
"""What of a tool clients put before their models."""

Tools = Sequence[Item]


class CatalogueWeights:
    """Weighs the tools of each view. What has not changed is not weighed again."""

    def __init__(self) -> None:
        self._weighed: dict[tuple[str, bool], tuple[Tools, float]] = {}
        """(upstream, whether in the merged view) → its tools there, and what they weigh."""

    def of(self, views: Mapping[str, tuple[Tools, Tools]]) -> dict[tuple[str], float]:
        """Tokens by view (its path). Takes long where there are many tools: call it beside the event loop.

        Args:
            views: by upstream, its tools in its own view, and those it contributes to the merged one.
        """
        for gone in [key for key in self._weighed if key[0] not in views]:
            del self._weighed[gone]
        tokens = {("/mcp",): sum(self._weight(name, True, merged) for name, (_, merged) in views.items())}
        return tokens | {(f"/mcp/{name}",): self._weight(name, False, own) for name, (own, _) in views.items()}

    def _weight(self, name: str, is_merged: bool, tools: Tools) -> float:
        known = self._weighed.get((name, is_merged))
        if known is None or known[0] is not tools:
            known = tools, sum(map(tokens_of, tools))
            self._weighed[name, is_merged] = known
        return known[1]


def tokens_of(tool: Item) -> float:
    """What one tool costs."""
    return len(jsonrpc.dumps({key: tool[key] for key in SHOWN if key in tool})) / BYTES_A_TOKEN


def tools_of(library: CatalogueViews) -> dict[str, tuple[Tools, Tools]]:
    """What there is to weigh. On the event loop."""
    return {name: (own.tools, merged.tools) for name, own, merged in library.contributions()}
