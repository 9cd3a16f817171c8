"""Tells the log who shadows whom, and above all when a URI that was one upstream's becomes another's."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Final

import structlog

from gateway.catalogue.ownership import Ownership, UriKind
from gateway.harmless import harmless

log = structlog.stdlib.get_logger("gateway.catalogue")

MAX_NAMED: Final = 5
"""URIs of two upstreams that are named; the rest is counted."""
_MAX_CHARACTERS: Final = 200


def tell(before: Ownership, after: Ownership) -> None:
    """Say what is shadowed now and was not before."""
    for upstream, shadows in after.shadows.items():
        known = before.shadows.get(upstream, {})
        claimed = before.claims.get(upstream)
        templates = {each.text for each in claimed.templates} if claimed is not None else set[str]()
        new: defaultdict[tuple[str, bool], list[str]] = defaultdict(list)
        for (kind, uri), owner in shadows.items():
            if known.get((kind, uri)) != owner:
                was_claimed = claimed is not None and uri in (templates if _is_template(kind) else claimed.uris)
                new[owner, was_claimed and (kind, uri) not in known].append(uri)
        for (owner, is_taken), uris in new.items():
            if is_taken:
                log.warning("URIs taken over", upstream=upstream, by=owner, **_named(uris))
            else:
                log.info("URIs shadowed", upstream=upstream, by=owner, **_named(uris))


def _is_template(kind: UriKind) -> bool:
    return kind == "templates"


def _named(uris: Iterable[str]) -> dict[str, object]:
    ordered = sorted(uris)
    return {"count": len(ordered), "uris": [harmless(uri[:_MAX_CHARACTERS]) for uri in ordered[:MAX_NAMED]]}
