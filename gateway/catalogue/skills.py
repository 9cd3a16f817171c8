"""Skills (the extension `io.modelcontextprotocol/skills`, SEP-2640) as a catalogue has them. Pure.

An entry names the `SKILL.md` and every other file of a skill, with digests. Its files are resources, and belong to
whoever owns them as such. A skill has one prefix for all of its files: hosts take a file only if it lies in the skill's
directory. Nothing else of an entry is changed.
"""

from collections.abc import Mapping
from typing import Any, Final, cast

from gateway.catalogue.naming import prefixed
from gateway.jsonrpc import as_object
from gateway.protocol import SKILLS
from gateway.upstream.listing import Item

DYNAMIC: Final = "dynamic"
"""`resources` of a skill that publishes no digests."""
SKILL_FILE: Final = "/SKILL.md"


def directory(uri: str) -> str:
    """Where a skill's files are, without a slash at its end.

    Args:
        uri: of its `SKILL.md`.
    """
    return uri.removesuffix(SKILL_FILE)


def files(skill: Item) -> list[Item]:
    """Its files as the entry has them, `{uri, digest, size}` each; none of one that is generated."""
    resources = skill.get("resources")
    some = cast("list[object]", resources) if isinstance(resources, list) else []
    return [file for each in some if isinstance((file := as_object(each)).get("uri"), str)]


def uris(skill: Item) -> list[str]:
    """The URIs of its files, that of its `SKILL.md` first."""
    return list(dict.fromkeys([skill["uri"], *(file["uri"] for file in files(skill))]))


def unfit(skill: Item) -> str | None:
    """Why hosts may not load a skill of that entry, if they may not."""
    uri, frontmatter, resources = skill["uri"], as_object(skill.get("frontmatter")), skill.get("resources")
    if not all(isinstance(frontmatter.get(key), str) for key in ("name", "description")):
        return "its frontmatter has no name or no description"
    if resources == DYNAMIC:
        return None
    if not isinstance(resources, list) or len(files(skill)) != len(cast("list[object]", resources)):
        return f"its resources are neither a list of files nor {DYNAMIC!r}"
    if any(not file["uri"].startswith(directory(uri) + "/") for file in files(skill)):
        return "a file of its is not in its directory"
    return None


def renamed(skill: Item, prefix: str) -> Item:
    """The entry with that in front of each of its URIs; itself if there is nothing to put there."""
    if not prefix:
        return skill
    public = {**skill, "uri": prefixed(prefix, skill["uri"])}
    if isinstance(skill.get("resources"), list):
        public["resources"] = [{**file, "uri": prefixed(prefix, file["uri"])} for file in files(skill)]
    return public


def changed_files(old: Item | None, new: Item | None) -> set[str]:
    """The URIs of the files that are not the same by both entries."""
    before, after = _digests(old), _digests(new)
    return {uri for uri in before.keys() | after.keys() if before.get(uri) != after.get(uri)}


def _digests(skill: Item | None) -> dict[str, Any]:
    if skill is None:
        return {}
    digests = {file["uri"]: (file.get("digest"), file.get("size")) for file in files(skill)}
    return {skill["uri"]: skill.get("frontmatter"), **digests}


def are_offered(capabilities: Mapping[str, Any]) -> bool:
    """Whether somebody who declares these has skills."""
    return SKILLS in as_object(capabilities.get("extensions"))


def merged_settings(declared: list[Any]) -> dict[str, Any]:
    """What several servers with skills declare together: each is asked only for what it has."""
    return {"directoryRead": True} if any(as_object(each).get("directoryRead") is True for each in declared) else {}
