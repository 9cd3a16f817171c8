"""Whose a skill or a directory of one is, and what of an upstream's answer about it an agent may have (SEP-2640).

What is listed leads to whoever lists it. Servers answer for skills that they do not list, too: such a URI
is its owner's by the rules for resources, or the only server's that has skills.
"""

from collections.abc import Collection, Mapping
from functools import partial
from hashlib import blake2b
from typing import Any, Final, cast

from gateway import jsonrpc
from gateway.call import Call, string
from gateway.catalogue import skills
from gateway.catalogue.catalogue import Catalogue, Owner
from gateway.errors import DefinitionChanged, InvalidParams, MethodNotFound, UnknownSkill, UpstreamProtocolError
from gateway.jsonrpc import as_object
from gateway.protocol import SKILLS
from gateway.server.lookup import Lookup
from gateway.upstream.upstream import Upstream

MAX_DIFFERING: Final = 256
"""Entries of which it is remembered that they are not those that were listed."""


class SkillLookup:
    """Serves `skills/get` and `resources/directory/read`, of which the answers are upstreams'."""

    def __init__(self, lookup: Lookup, upstreams: Mapping[str, Upstream]) -> None:
        self._lookup = lookup
        self._upstreams = upstreams
        self._differing: dict[tuple[str, str], bytes] = {}
        """`(upstream, its own URI)` → the hash of an entry that was not the one that was listed."""

    async def skill(self, call: Call) -> Owner:
        """
        Raises:
            MethodNotFound: nobody has skills.
            UnknownSkill: nobody, as far as this agent is concerned.
            DefinitionChanged: it was never approved.
        """
        uri = string(call.params, "uri")
        offering = await self._offering(call)
        owner = await self._lookup.find(call, lambda catalogue: catalogue.skill_owners.get(uri))
        if owner is None:
            owner = self._unlisted(call, uri, offering)
            if owner is None or not self._lookup.admits_uri(call, owner.upstream, owner.original):
                raise UnknownSkill(uri)
            if self._blocks(owner.upstream):
                raise DefinitionChanged(owner.upstream, "skills", owner.original, "new")
        return owner

    async def directory(self, call: Call) -> Owner:
        """
        Raises:
            MethodNotFound: nobody can list a directory.
            InvalidParams: nobody has that one, as far as this agent is concerned.
        """
        uri = string(call.params, "uri")
        offering = [name for name, settings in (await self._offering(call)).items() if settings.get("directoryRead")]
        if not offering:
            raise MethodNotFound(call.method)
        owner = await self._lookup.find(call, partial(_owner_of_directory, uri=uri))
        if owner is None:
            owner = self._unlisted(call, uri, offering)
            if owner is not None and not self._lookup.admits_uri(call, owner.upstream, owner.original):
                owner = None
        if owner is None or owner.upstream not in offering:
            raise InvalidParams(f"No directory can be read at {uri[:200]}")
        return owner

    def finish_skill(self, call: Call, owner: Owner, result: dict[str, Any]) -> dict[str, Any]:
        """The entry of a skill under the URIs by which the agent has it; `result`, changed in place.

        Raises:
            UpstreamProtocolError: it is no entry of that skill.
            DefinitionChanged: it is not the one that was approved.
            UnknownSkill: it has files that the agent may not have.
        """
        skill = as_object(jsonrpc.opened(result).get("skill"))
        if skill.get("uri") != owner.original or skills.unfit(skill) is not None:
            raise UpstreamProtocolError(owner.upstream, "an entry that is not of the skill it was asked for")
        if owner.item and skill != owner.item:
            self._list_again(owner, skill)
        if owner.item and skill != owner.item and self._blocks(owner.upstream):
            raise DefinitionChanged(owner.upstream, "skills", owner.original, "changed")
        if not all(self._lookup.admits_uri(call, owner.upstream, uri) for uri in skills.uris(skill)):
            raise UnknownSkill(call.params["uri"])
        result["skill"] = skills.renamed(skill, _prefix(call.params["uri"], owner.original))
        return result

    def finish_directory(self, call: Call, owner: Owner, result: dict[str, Any]) -> dict[str, Any]:
        """What of a directory an agent may have, under the URIs by which it does; `result`, changed in place."""
        children: object = jsonrpc.opened(result).get("resources")
        if not isinstance(children, list):
            raise UpstreamProtocolError(owner.upstream, "a directory without 'resources'")
        prefix = _prefix(call.params["uri"], owner.original)
        objects = (as_object(each) for each in cast("list[object]", children))
        some = [child for child in objects if isinstance(child.get("uri"), str)]
        if not self._lookup.grant(call).unrestricted:
            some = [child for child in some if self._may_have(call, owner.upstream, child["uri"])]
        result["resources"] = [skills.renamed(child, prefix) for child in some]
        return result

    def _may_have(self, call: Call, upstream: str, own: str) -> bool:
        """Whether it is a file that the agent may have, or a directory of a skill that it may."""
        owners = self._lookup.catalogue(call).skill_owners.values()
        files = (uri for owner in owners if owner.upstream == upstream for uri in skills.uris(owner.item))
        return self._lookup.admits_uri(call, upstream, own) or any(uri.startswith(own + "/") for uri in files)

    async def _offering(self, call: Call) -> dict[str, dict[str, Any]]:
        """Who has skills → what it declares of them; those that are starting are waited for."""

        def now() -> dict[str, dict[str, Any]]:
            declared = {
                upstream.name: as_object(upstream.known.capabilities.get("extensions")).get(SKILLS)
                for upstream in self._lookup.upstreams(call)
                if upstream.known is not None
            }
            return {name: as_object(settings) for name, settings in declared.items() if settings is not None}

        offering = now() or (now() if await self._lookup.settle(call) else {})
        if not offering:
            raise MethodNotFound(call.method)
        return offering

    def _unlisted(self, call: Call, uri: str, offering: Collection[str]) -> Owner | None:
        view = call.agent.view
        if view is not None and self._lookup.is_own(view):
            return Owner(view, uri, {})
        owner = self._lookup.catalogue(call).unlisted(uri)
        if owner is None and len(offering) == 1:
            owner = Owner(next(iter(offering)), uri, {})
        return Owner(owner.upstream, owner.original, {}) if owner is not None and owner.upstream in offering else None

    def _list_again(self, owner: Owner, skill: dict[str, Any]) -> None:
        """An entry is not the one that was listed. For the same entry once: who lists another than it serves, or whose
        new one is blocked, does so for good."""
        name, found = (owner.upstream, owner.original), blake2b(jsonrpc.dumps(skill), digest_size=16).digest()
        if self._differing.get(name) == found or (upstream := self._upstreams.get(owner.upstream)) is None:
            return
        if len(self._differing) >= MAX_DIFFERING:
            self._differing.clear()
        self._differing[name] = found
        upstream.watch.on_differing("resources")

    def _blocks(self, upstream: str) -> bool:
        found = self._upstreams.get(upstream)
        return found is not None and found.config.pin == "block"


def _owner_of_directory(catalogue: Catalogue, uri: str) -> Owner | None:
    """The server of the skills in a directory, or of the skill whose directory it is part of; of several, nobody."""
    found: dict[tuple[str, str], None] = {}
    for public, owner in catalogue.skill_owners.items():
        root = skills.directory(public)
        if f"{uri}/".startswith(f"{root}/") or root.startswith(f"{uri}/"):
            found[owner.upstream, uri.removeprefix(_prefix(public, owner.original))] = None
    return Owner(*next(iter(found)), {}) if len(found) == 1 else None


def _prefix(public: str, own: str) -> str:
    return public.removesuffix(own)
