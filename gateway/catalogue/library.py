"""The catalogue of every view, rebuilt when an upstream's lists change: merged under public names, and each upstream's
own at `/mcp/{upstream}`."""

from collections.abc import Iterable, Mapping

import structlog

from gateway.catalogue.catalogue import Catalogue, ChangeKind, changed
from gateway.catalogue.intake import ToolRules, UpstreamItems
from gateway.catalogue.merge import Prefix, merge
from gateway.config.models import ServerConfig
from gateway.upstream.listing import Listing

log = structlog.stdlib.get_logger("gateway.catalogue")

View = str | None
"""An upstream's name, or None for the merged catalogue."""


class Library:
    """Holds one `Catalogue` a view.

    Args:
        prefix: how names are made in the merged view.
    """

    def __init__(self, servers: Mapping[str, ServerConfig], prefix: Prefix) -> None:
        self._rules = {name: _rules(server) for name, server in servers.items()}
        self._prefix: Prefix = prefix
        self._listings: dict[str, Listing] = {}
        self._views: dict[View, Catalogue] = {None: Catalogue(), **dict.fromkeys(servers, Catalogue())}

    def __contains__(self, view: View) -> bool:
        return view in self._views

    def view(self, view: View) -> Catalogue:
        return self._views[view]

    def update(self, listings: Iterable[tuple[str, Listing | None]]) -> dict[View, set[ChangeKind]]:
        """Take new listings (None: the upstream offers nothing now); returns which lists changed in which views."""
        names = [name for name, _ in listings if self._take(name, _)]
        if not names:
            return {}
        rebuilt: dict[View, Catalogue] = {name: self._build([name], "own") for name in names}
        rebuilt[None] = self._build(list(self._listings), self._prefix)
        changes = {view: kinds for view, new in rebuilt.items() if (kinds := changed(self._views[view], new))}
        self._views.update(rebuilt)
        for dropped in rebuilt[None].dropped:
            if dropped.upstream in names:
                log.warning(
                    "item left out",
                    upstream=dropped.upstream,
                    kind=dropped.kind,
                    name=dropped.name,
                    reason=dropped.reason,
                )
        return changes

    def _take(self, name: str, listing: Listing | None) -> bool:
        if listing == self._listings.get(name):
            return False
        if listing is None:
            del self._listings[name]
        else:
            self._listings[name] = listing
        return True

    def _build(self, names: list[str], prefix: Prefix) -> Catalogue:
        known = [
            UpstreamItems(name, self._listings[name], self._rules[name]) for name in names if name in self._listings
        ]
        return merge(known, prefix) if known else Catalogue()


def _rules(server: ServerConfig) -> ToolRules:
    rules = server.tools
    return ToolRules(tuple(rules.allow), tuple(rules.deny), dict(rules.rename), dict(rules.describe))
