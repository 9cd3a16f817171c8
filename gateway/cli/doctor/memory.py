"""What the snapshot on disk remembers of the configured servers, for verbs that need not, or must not, ask them."""

from gateway.catalogue import snapshot
from gateway.catalogue.library import CatalogueViews
from gateway.config.models import Config
from gateway.upstream.listing import Listing


def remembered(config: Config) -> dict[str, Listing]:
    """What each enabled server offered when last seen; nothing of one whose entry has since become another's."""
    stored, _ = snapshot.load(config.gateway.state_dir / "catalogue.json")
    known = {
        name: snapshot.known(stored, name, snapshot.fingerprint(server.model_dump(mode="json")))
        for name, server in config.enabled.items()
    }
    return {name: each.listing for name, each in known.items() if each is not None and each.listing is not None}


def owner(config: Config, tool: str) -> str | None:
    """The server that the tool of that public name was of when last seen."""
    library = CatalogueViews(config.enabled, config.prefix)
    library.update(remembered(config).items())
    found = library.whole(None).tool(tool)
    return found.upstream if found is not None else None
