"""A catalogue as somebody sees it who may not use all of it. What is hidden is not there, in any list or look-up."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from gateway.catalogue.catalogue import Catalogue, ChangeKind, Owner, fingerprint
from gateway.catalogue.intake import Kind
from gateway.catalogue.naming import prefixed
from gateway.upstream.listing import Item

Shown = tuple[str, Owner]
"""What an item is called, and whose it is."""

Admits = Callable[[Kind, Owner], bool]


def restrict(catalogue: Catalogue, admits: Admits) -> Catalogue:
    """The same catalogue without what `admits` refuses."""

    def visible(kind: Kind, owners: Mapping[str, Owner]) -> dict[str, Owner]:
        return {public: owner for public, owner in owners.items() if admits(kind, owner)}

    tools = visible("tools", catalogue.tool_owners)
    prompts = visible("prompts", catalogue.prompt_owners)
    resources = visible("resources", catalogue.resource_owners)
    templates = visible("templates", catalogue.template_owners)
    items: dict[Kind, tuple[Item, ...]] = {
        "tools": tuple(item for item in catalogue.tools if item["name"] in tools),
        "prompts": tuple(item for item in catalogue.prompts if item["name"] in prompts),
        "resources": tuple(item for item in catalogue.resources if item["uri"] in resources),
        "templates": tuple(item for item in catalogue.templates if item["uriTemplate"] in templates),
    }
    return replace(
        catalogue,
        **items,
        tool_owners=tools,
        prompt_owners=prompts,
        resource_owners=resources,
        template_owners=templates,
        links=visible("resources", catalogue.links),
        matchers=tuple(
            template for template in catalogue.matchers if prefixed(template.prefix, template.original) in templates
        ),
        listed_uris={key: public for key, public in catalogue.listed_uris.items() if public in resources},
        fingerprints=_fingerprints(
            catalogue,
            {
                "tools": [(item["name"], tools[item["name"]]) for item in items["tools"]],
                "resources": [
                    *((item["uri"], resources[item["uri"]]) for item in items["resources"]),
                    *((item["uriTemplate"], templates[item["uriTemplate"]]) for item in items["templates"]),
                ],
                "prompts": [(item["name"], prompts[item["name"]]) for item in items["prompts"]],
            },
        ),
        private=True,
    )


def _fingerprints(whole: Catalogue, seen: Mapping[ChangeKind, Sequence[Shown]]) -> dict[ChangeKind, str]:
    """As `merge` makes them. A list of which nothing is hidden keeps its own."""
    everything: dict[ChangeKind, int] = {
        "tools": len(whole.tools),
        "resources": len(whole.resources) + len(whole.templates),
        "prompts": len(whole.prompts),
    }
    return {
        kind: whole.fingerprints[kind] if len(some) == everything[kind] else fingerprint(some)
        for kind, some in seen.items()
        if some
    }
