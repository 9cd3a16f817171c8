"""Who owns what a call names, what that upstream is sent, and what of its result is the gateway's to change."""

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

import msgspec

from gateway import jsonrpc
from gateway.bridge.envelope import unwrap_params
from gateway.bridge.tasks import FAMILY
from gateway.call import Call, string
from gateway.catalogue import adapted
from gateway.catalogue.catalogue import Catalogue, Owner
from gateway.catalogue.completion import permitted
from gateway.catalogue.intake import Kind
from gateway.catalogue.kept_results import TEMPLATE
from gateway.catalogue.shapes import FIND_TOOLS
from gateway.errors import (
    InvalidParams,
    MethodNotFound,
    UnknownPrompt,
    UnknownResource,
    UnknownTool,
    UpstreamOversized,
    UpstreamProtocolError,
    UpstreamUnavailable,
)
from gateway.jsonrpc import as_object
from gateway.server import param_headers
from gateway.server.extensions import Extensions, family_of
from gateway.server.handshake_tasks import HandshakeTasks, makes_tasks, needs_task, takes_tasks
from gateway.server.lookup import Lookup
from gateway.server.results import BoundedResults
from gateway.server.skills import SkillLookup
from gateway.server.tool_search import ToolSearch, is_ours
from gateway.upstream.listing import LOGIN_TOOL, is_login_tool
from gateway.upstream.upstream import Upstream


class Target(msgspec.Struct, eq=False):
    """Where a call goes."""

    upstream: str
    params: dict[str, Any]
    """Under the upstream's own names."""
    kind: Kind | None = None
    """None where it names no item."""
    owner: Owner | None = None
    tool: str | None = None
    """The tool's own name, if it calls one."""
    as_task: bool = False
    """Whether the gateway makes a task of it, and waits for that."""
    is_login: bool = False
    """Whether it is the gateway's own tool by which somebody logs in to the upstream."""
    question: dict[str, Any] | None = None
    """What the agent's user is asked first, who must agree."""
    answer: dict[str, Any] | None = None
    """The result, if the gateway gave it itself and nobody is asked."""

    __repr__ = object.__repr__  # what is called with is nobody's but the agent's


def _answered(call: Call, answer: dict[str, Any]) -> Target:
    return Target("", call.params, answer=answer)


class Targets:
    """
    Args:
        own: the families of MCP's own methods, of both eras and directions: no extension has those.
    """

    def __init__(
        self,
        lookup: Lookup,
        upstreams: Mapping[str, Upstream],
        extensions: Extensions,
        own: frozenset[str],
        search: ToolSearch,
        tasks: HandshakeTasks,
        results: BoundedResults,
    ) -> None:
        self._search = search
        self._tasks = tasks
        self._results = results
        self._lookup = lookup
        self._upstreams = upstreams
        self._extensions = extensions
        self._own = own
        self._skills = SkillLookup(lookup, upstreams)
        self._find: dict[str, Callable[[Call], Awaitable[Target]]] = {
            "tools/call": self._tool,
            "prompts/get": self._prompt,
            "resources/read": self._resource,
            "completion/complete": self._completion,
            "skills/get": self._skill,
            "resources/directory/read": self._directory,
            "tasks/list": self._task_list,
        }
        self._finish: dict[str, Callable[[Call, Owner, dict[str, Any]], dict[str, Any]]] = {
            "completion/complete": self._finish_completion,
            "skills/get": self._skills.finish_skill,
            "resources/directory/read": self._skills.finish_directory,
        }

    def find_now(self, call: Call) -> Target | None:
        """The target of a `tools/call`, unless it has to be looked for."""
        if call.method != "tools/call":
            return None
        catalogue = self._lookup.catalogue(call)
        owner = catalogue.tool_owners.get(_tool_name(call))
        if owner is None:
            return None
        if catalogue.dialect is not None and (refused := _restored(call, catalogue)) is not None:
            return refused
        return self._target_of(call, owner)

    async def find(self, call: Call) -> Target:
        """
        Raises:
            MethodNotFound: no such method, in this era.
            GatewayError: nobody owns what it names.
        """
        find = self._find.get(call.method)
        if find is not None:
            return await find(call)
        if family_of(call.method) in self._own:
            raise MethodNotFound(call.method)
        upstream, params = await self._extensions.find(call)
        return Target(upstream, params, owner=self._results.owner_of_task(call, upstream))

    def upstream(self, target: Target) -> Upstream:
        """The one that serves a target now; not to be kept across an `await`, for then it may be another.

        Raises:
            UpstreamUnavailable: it was removed since the target was found.
        """
        upstream = self._upstreams.get(target.upstream)
        if upstream is None:
            raise UpstreamUnavailable(target.upstream, "gone", "it was taken out of the configuration")
        return upstream

    async def keep_task(self, call: Call, target: Target, result: dict[str, Any]) -> None:
        """See `HandshakeTasks.keep`."""
        if makes_tasks(call.agent, self.upstream(target)):
            await self._tasks.keep(call, target.upstream, result, target.tool)

    def finish(self, call: Call, target: Target, result: dict[str, Any]) -> dict[str, Any]:
        """An upstream's result as the agent is to have it; changed in place, as a rule."""
        if result.get("resultType") == "task" or (target.kind is None and family_of(call.method) == FAMILY):
            self._extensions.publish(call, target.upstream, target.params, result, target.tool)
        if (
            target.kind != "tools"
            and target.owner is not None
            and (finish := self._finish.get(call.method)) is not None
        ):
            return finish(call, target.owner, result)
        if target.upstream in self._lookup.shadows:
            self._relink(call, target.upstream, result)
        return result

    def _relink(self, call: Call, upstream: str, result: dict[str, Any]) -> None:
        """
        Raises:
            UpstreamOversized, UpstreamProtocolError: it has to be looked into, and cannot be.
        """
        if self._lookup.is_own(call.agent.view):
            return
        try:
            self._lookup.relink(result, upstream)
        except jsonrpc.TooManyValues:
            raise UpstreamOversized(upstream, jsonrpc.MAX_VALUES, "values") from None
        except ValueError as error:
            raise UpstreamProtocolError(upstream, f"an answer of which {error}") from None

    # --- By method ----------------------------------------------------------------------------------------------------

    async def _tool(self, call: Call) -> Target:
        name, catalogue = _tool_name(call), self._lookup.catalogue(call)
        if not is_ours(name, catalogue) and catalogue.tool(name) is None and await self._lookup.settle(call):
            catalogue = self._lookup.catalogue(call)  # what there is decides which tools of its own the gateway has
        if not is_ours(name, catalogue):
            owner = await self._owner_of_tool(call, name)
            return _restored(call, self._lookup.catalogue(call)) or self._target_of(call, owner)
        if (refused := _restored(call, catalogue)) is not None:
            return refused
        if name == catalogue.reader:
            return await self._read_result(call)
        if name == FIND_TOOLS:
            return _answered(call, await self._search.find(call))
        name = self._search.unwrap(call)
        if name == catalogue.reader:
            return _restored(call, catalogue) or await self._read_result(call)
        owner = await self._owner_of_tool(call, name)
        if (refused := _restored(call, self._lookup.catalogue(call))) is not None:
            return refused
        target, question = self._target_of(call, owner), self._search.question(call, owner)
        if question is None or target.is_login:
            return target
        target.question = question
        return target

    async def _read_result(self, call: Call) -> Target:
        return _answered(call, await self._results.read_by_tool(call))

    async def _owner_of_tool(self, call: Call, name: str) -> Owner:
        """
        Raises:
            UnknownTool, UpstreamUnavailable: it is not there.
        """
        owner = await self._lookup.find(call, lambda catalogue: catalogue.tool(name))
        owner = owner or self._lookup.login_tool(call, name)
        if owner is None:
            raise self._missing(call, name) or UnknownTool(name)
        return owner

    def _target_of(self, call: Call, owner: Owner) -> Target:
        own, params = owner.original, call.params
        if (headers := param_headers.of_call(owner, params, call.agent_headers)) is not call.mirrored_headers:
            call.mirrored_headers = headers
        sent = unwrap_params(params)
        if sent is params:
            sent = params.copy()
        sent["name"] = own
        target = Target(owner.upstream, sent, "tools", owner, own)
        if own == LOGIN_TOOL:
            target.is_login = is_login_tool(own, owner.item)
        if "task" not in params:
            if "execution" in owner.item:
                target.as_task = needs_task(owner.item) and not takes_tasks(call.agent)
        else:
            upstream = self.upstream(target)
            if not self._extensions.makes_tasks(call.agent, upstream):
                del target.params["task"]  # nobody could ever ask for its result
            elif makes_tasks(call.agent, upstream):
                self._tasks.begin(call, owner.upstream)
        return target

    async def _task_list(self, call: Call) -> Target:
        return _answered(call, await self._tasks.listed(call))

    async def _prompt(self, call: Call) -> Target:
        name = string(call.params, "name")
        owner = await self._lookup.find(call, lambda catalogue: catalogue.prompt(name))
        if owner is None:
            raise self._missing(call, name) or UnknownPrompt(name)
        return Target(owner.upstream, {**call.params, "name": owner.original}, "prompts", owner)

    async def _resource(self, call: Call) -> Target:
        if (kept := await self._results.read_resource(call)) is not None:
            return _answered(call, kept)
        owner = await self._lookup.owner(call, string(call.params, "uri"))
        return Target(owner.upstream, {**call.params, "uri": owner.original}, "resources", owner)

    async def _skill(self, call: Call) -> Target:
        owner = await self._skills.skill(call)
        return Target(owner.upstream, {**call.params, "uri": owner.original}, "skills", owner)

    async def _directory(self, call: Call) -> Target:
        owner = await self._skills.directory(call)
        return Target(owner.upstream, {**call.params, "uri": owner.original}, None, owner)

    async def _completion(self, call: Call) -> Target:
        ref = as_object(call.params.get("ref"))
        kind: Kind = "prompts" if ref.get("type") == "ref/prompt" else "resources"
        if ref.get("type") == "ref/prompt":
            name, key = string(ref, "name"), "name"
            owner = await self._lookup.find(call, lambda catalogue: catalogue.prompt(name))
            if owner is None:
                raise UnknownPrompt(name)
        elif ref.get("type") == "ref/resource":
            uri, key = string(ref, "uri"), "uri"
            if uri == TEMPLATE["uriTemplate"] and self._lookup.catalogue(call).reader is not None:
                return _answered(call, {"completion": {"values": []}})  # nobody lists them
            owner = await self._lookup.find(call, lambda catalogue: catalogue.template(uri) or catalogue.resource(uri))
            if owner is None:
                raise UnknownResource(uri)
        else:
            raise InvalidParams("ref.type must be ref/prompt or ref/resource")
        return Target(owner.upstream, {**call.params, "ref": {**ref, key: owner.original}}, kind, owner)

    def _finish_completion(self, call: Call, owner: Owner, result: dict[str, Any]) -> dict[str, Any]:
        if (
            as_object(call.params.get("ref")).get("type") == "ref/resource"
            and not self._lookup.grant(call).unrestricted
        ):
            admits = partial(self._lookup.admits_uri, call, owner.upstream)
            result = permitted(result, owner.original, call.params, admits)
        return result  # in which there are no links

    def _missing(self, call: Call, name: str) -> UpstreamUnavailable | None:
        """Why there is nothing of that name, if its upstream is away."""
        upstream = self._lookup.away_owner(call, name)
        return upstream.unavailable() if upstream is not None else None


def _tool_name(call: Call) -> str:
    """
    Raises:
        InvalidParams: there is none, or its arguments are none.
    """
    params = call.params
    name, arguments = params.get("name"), params.get("arguments")
    if type(arguments) is not msgspec.Raw and not isinstance(arguments, dict | None):
        raise InvalidParams("arguments must be an object")
    return name if type(name) is str else string(params, "name")


def _restored(call: Call, catalogue: Catalogue) -> Target | None:
    """Make the arguments of a call into those that the tool's own schema asks for, where agents see another. What is
    wrong with them is a result, and no error: so a model sees it, and can try again."""
    if catalogue.dialect is None:
        return None
    try:
        call.params = adapted.restore(catalogue, call.params["name"], call.params)
    except InvalidParams as error:
        text = {"type": "text", "text": error.message}
        return _answered(call, {"content": [text], "isError": True})
    if catalogue.dialect.keywords is not None:
        call.agent_headers = None  # no schema that the agent saw says what to mirror
    return None
