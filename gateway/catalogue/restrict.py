"""A catalogue as somebody sees it who may not use all of it. What is hidden is not there, in any list or look-up."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from gateway.catalogue.catalogue import Catalogue, ChangeKind, Owner, fingerprint
from gateway.catalogue.intake import Kind
from gateway.catalogue.naming import prefixed
from gateway.catalogue.skills import uris
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
    skills = {public: owner for public, owner in catalogue.skill_owners.items() if _is_whole(owner, admits)}
    items: dict[Kind, tuple[Item, ...]] = {
        "tools": tuple(item for item in catalogue.tools if item["name"] in tools),
        "prompts": tuple(item for item in catalogue.prompts if item["name"] in prompts),
        "resources": tuple(item for item in catalogue.resources if item["uri"] in resources),
        "templates": tuple(item for item in catalogue.templates if item["uriTemplate"] in templates),
        "skills": tuple(item for item in catalogue.skills if item["uri"] in skills),
    }
    return replace(
        catalogue,
        **items,
        tool_owners=tools,
        prompt_owners=prompts,
        resource_owners=resources,
        template_owners=templates,
        skill_owners=skills,
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
                    *((item["uri"], skills[item["uri"]]) for item in items["skills"]),
                ],
                "prompts": [(item["name"], prompts[item["name"]]) for item in items["prompts"]],
            },
        ),
        private=True,
        keeps_results=catalogue.keeps_results and any(owner.max_tokens is not None for owner in tools.values()),
    )


def _is_whole(skill: Owner, admits: Admits) -> bool:
    """Whether somebody may use a skill and every file of it: an entry that leaves one out, hosts refuse."""
    files = (Owner(skill.upstream, uri, {}) for uri in uris(skill.item))
    return admits("skills", skill) and all(admits("resources", file) for file in files)


def _fingerprints(whole: Catalogue, seen: Mapping[ChangeKind, Sequence[Shown]]) -> dict[ChangeKind, str]:
    """As `merge` makes them. A list of which nothing is hidden keeps its own."""
    everything: dict[ChangeKind, int] = {
        "tools": len(whole.tools),
        "resources": len(whole.resources) + len(whole.templates) + len(whole.skills),
        "prompts": len(whole.prompts),
    }
    return {
        kind: whole.fingerprints[kind] if len(some) == everything[kind] else fingerprint(some)
        for kind, some in seen.items()
        if some
    }
