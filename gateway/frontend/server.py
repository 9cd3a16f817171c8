"""What an MCP server answers: one method table for both eras and every front.

The fronts turn bytes into a `Request` and a result into bytes; the rooms behind this one do the rest. A `tools/call`
comes in at `route`, finds its owner in the catalogue and leaves through `bridge.forward`.
"""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any, Final, cast

import anyio

from gateway.access.layers import Limits
from gateway.access.policy import Grant, Policy, Rule
from gateway.bridge.envelope import SERVER_INFO, dress_result
from gateway.bridge.forward import Bridge
from gateway.bridge.tasks import TaskHandles
from gateway.catalogue.catalogue import Catalogue, Owner
from gateway.catalogue.completion import permitted
from gateway.catalogue.intake import Kind
from gateway.catalogue.library import Library
from gateway.catalogue.merge import Prefix
from gateway.catalogue.pages import page
from gateway.catalogue.repairs import for_handshake
from gateway.config.models import GatewaySettings, ServerConfig
from gateway.errors import (
    InvalidParams,
    MethodNotFound,
    UnknownPrompt,
    UnknownTool,
    UpstreamUnavailable,
)
from gateway.frontend.agents import ConnectedAgent, declared, described
from gateway.frontend.extensions import Extensions, family_of
from gateway.frontend.listening import Listening
from gateway.frontend.log_messages import LogMessages
from gateway.frontend.lookup import Lookup, Opener, Viewer, unknown_resource
from gateway.frontend.param_headers import mirrored
from gateway.frontend.places import Places
from gateway.jsonrpc import as_object
from gateway.protocol import (
    CHANGE_NOTIFICATIONS,
    HANDSHAKE_VERSIONS,
    LIST_METHODS,
    MODERN_VERSIONS,
    Era,
)
from gateway.request import ANONYMOUS, QUESTIONS, Agent, Request, string
from gateway.upstream.audience import Audience
from gateway.upstream.upstream import Upstream

Handler = Callable[[Request], Awaitable[dict[str, Any]]]

MAX_NAMED: Final = 10
"""Of the servers that are away, in the instructions."""
FRESHEN_SECONDS = 5.0
"""How long a listing waits for an upstream whose lists have expired, before it makes do with the old ones."""

_LISTS = {
    "tools/list": ("tools", "name"),
    "resources/list": ("resources", "uri"),
    "resources/templates/list": ("templates", "uriTemplate"),
    "prompts/list": ("prompts", "name"),
}
"""Method → the catalogue's field, and what identifies an item in it."""

UNKNOWN_CAPABILITIES: Final[Mapping[str, Any]] = {
    **{kind: {"listChanged": True} for kind in CHANGE_NOTIFICATIONS},
    "completions": {},
    "logging": {},
}
"""What an upstream of which nothing is known yet may turn out to have."""


class Server:
    """The gateway as the MCP server its agents see. Also the observer of its upstreams.

    Args:
        on_listing: told when an upstream's lists changed, after the agents were.
        places: what listen streams take one of.
    """

    def __init__(
        self,
        settings: GatewaySettings,
        policy: Policy,
        limits: Limits,
        library: Library,
        upstreams: Mapping[str, Upstream],
        bridge: Bridge,
        tasks: TaskHandles,
        on_listing: Callable[[Upstream], None],
        places: Places,
    ) -> None:
        self._settings = settings
        self._policy = policy
        self._library = library
        self._limits = limits
        self._upstreams = upstreams
        self._bridge = bridge
        self._tasks = tasks
        self._notify_listing = on_listing
        self._lookup = Lookup(policy, library, upstreams, settings.startup_wait)
        self._listening = Listening(self._lookup, library, upstreams, places)
        self._log_messages = LogMessages(upstreams, self._lookup.sees)
        self._extensions = Extensions(self._lookup, bridge, tasks)
        everywhere: dict[str, Handler] = {
            **dict.fromkeys(LIST_METHODS, self._list),
            "tools/call": self._call_tool,
            "prompts/get": self._get_prompt,
            "resources/read": self._read_resource,
            "completion/complete": self._complete,
        }
        self._methods: dict[Era, dict[str, Handler]] = {
            Era.HANDSHAKE: everywhere
            | {
                "initialize": self._initialize,
                "ping": self._ping,
                "resources/subscribe": self._listening.subscribe,
                "resources/unsubscribe": self._listening.unsubscribe,
                "logging/setLevel": self._log_messages.set_level,
            },
            Era.MODERN: everywhere
            | {
                "server/discover": self._discover,
                "subscriptions/listen": self._listening.listen,
            },
        }

        methods = frozenset(QUESTIONS).union(*self._methods.values())
        self._own = frozenset(family_of(method) for method in methods) | {"notifications"}
        """The families of MCP's own methods, of both eras and directions: no extension has those."""

    async def run(self) -> None:
        """See `Listening.run`."""
        await self._listening.run()

    async def route(self, request: Request) -> dict[str, Any]:
        """Answer one request.

        Raises:
            GatewayError: whatever the agent is to be told instead of a result.
        """
        handler = self._methods[request.agent.era].get(request.method)
        if handler is None:
            if family_of(request.method) in self._own:
                raise MethodNotFound(request.method)
            handler = self._extensions.route
        agent = request.agent
        result = await handler(request)
        if request.upstream is not None and agent.view is None:
            self._lookup.relink(result, request.upstream)
        result = dress_result(result, request.method, agent.era, self._identity(agent))
        if "cacheScope" in result and _is_one_of_many(agent):
            result["cacheScope"] = "private"
        return result

    # --- Agents come and go -----------------------------------------------------------------------------------------

    def open(self, agent: ConnectedAgent) -> None:
        """A handshake-era agent has connected."""
        self._listening.open(agent)
        self._log_messages.open(agent)

    async def close(self, agent: ConnectedAgent) -> None:
        """It has gone: give up what was held for it alone."""
        for upstream in self._upstreams.values():
            upstream.release(agent.id)
        await self._listening.close(agent)
        await self._log_messages.close(agent)

    async def hear(self, agent: ConnectedAgent, method: str, params: dict[str, Any]) -> None:
        """A handshake-era agent says something unasked: what concerns upstreams is passed on."""
        if method == "notifications/initialized":
            self._lookup.note(Opener(agent))
        elif method == "notifications/roots/list_changed":
            for upstream in list(self._upstreams.values()):
                await upstream.tell(agent, method, params or None)

    def catalogue(self, agent: Agent) -> Catalogue:
        """What a modern request's agent sees."""
        return self._lookup.catalogue(Opener(agent))

    async def has_view(self, view: str | None, grant: Grant) -> bool:
        """See `Lookup.has`."""
        return await self._lookup.has(view, grant)

    def end_streams(self, principals: Collection[str] | None = None) -> None:
        """See `Listening.end_streams`."""
        self._listening.end_streams(principals)

    # --- The configuration changes ------------------------------------------------------------------------------------

    async def prepare(self, servers: Mapping[str, ServerConfig], prefix: Prefix) -> None:
        """Make beside the event loop what `configure` will need."""
        await self._library.prepare(servers, prefix, [(each.name, each.listing) for each in self._upstreams.values()])

    def configure(self, settings: GatewaySettings, rules: Sequence[Rule], prefix: Prefix) -> None:
        """Take up other settings, rules and upstreams, and tell everybody which of the lists they see have changed."""
        servers = {name: upstream.config for name, upstream in self._upstreams.items()}
        listings = [(name, upstream.listing) for name, upstream in self._upstreams.items()]
        with self._listening.through_change():
            self._settings = settings
            self._lookup.startup_wait = settings.startup_wait
            self._policy.use(rules)
            self._library.configure(servers, prefix, listings)

    def reconsider(self) -> None:
        """Somebody approved that URIs become another server's: tell everybody which lists have changed."""
        with self._listening.through_change():
            self._library.reconsider()

    async def brief(self, upstream: Upstream) -> None:
        """One begins to serve, perhaps in another's place: what agents want of it is asked of it anew."""
        await self._log_messages.brief(upstream)
        await self._listening.brief(upstream)

    # --- What its upstreams say (upstream.Observer) -----------------------------------------------------------------

    async def on_listing(self, upstream: Upstream, announced: Collection[str]) -> None:
        await self._listening.on_listing(upstream, announced)
        self._notify_listing(upstream)

    def on_resource_updated(self, upstream: str, uri: str, audience: Audience) -> None:
        self._listening.on_resource_updated(upstream, uri, audience)

    def on_message(self, upstream: str, method: str, params: dict[str, Any], audience: Audience) -> None:
        agent = audience.agent
        if method == "notifications/message":
            self._log_messages.on_log(upstream, params, audience)
        elif method == "notifications/elicitation/complete" and agent is not None and agent.era is Era.HANDSHAKE:
            agent.notify(method, params)

    # --- Opening ----------------------------------------------------------------------------------------------------

    async def _initialize(self, request: Request) -> dict[str, Any]:
        agent = cast(ConnectedAgent, request.agent)
        requested = request.params.get("protocolVersion")
        if not isinstance(requested, str):
            raise InvalidParams("protocolVersion must be a string")
        agent.version = requested if requested in HANDSHAKE_VERSIONS else HANDSHAKE_VERSIONS[-1]
        agent.capabilities = declared(request.params.get("capabilities"))  # lenient: absent means none
        agent.info = described(request.params.get("clientInfo"))
        self._listening.introduced(agent)
        return {"protocolVersion": agent.version, "serverInfo": self._identity(agent), **self._offer(request)}

    async def _discover(self, request: Request) -> dict[str, Any]:
        self._lookup.note(request)
        return {"supportedVersions": list(MODERN_VERSIONS), **self._offer(request), **self._cache_hints(request)}

    async def _ping(self, request: Request) -> dict[str, Any]:
        return {}

    def _offer(self, viewer: Viewer) -> dict[str, Any]:
        catalogue = self._lookup.catalogue(viewer)
        capabilities = dict(catalogue.capabilities)
        if any(upstream.known is None for upstream in self._lookup.candidates(viewer)):
            # One of them has yet to say what it offers. What is not declared now could never be offered later.
            capabilities = {**UNKNOWN_CAPABILITIES, **capabilities}
            capabilities["resources"] = {**capabilities["resources"], "subscribe": True}
        offer: dict[str, Any] = {"capabilities": capabilities}
        parts = [catalogue.instructions, _absence(self._lookup.away(viewer))]
        if instructions := "\n\n".join(filter(None, parts)):
            offer["instructions"] = instructions
        return offer

    def _identity(self, agent: Agent) -> Mapping[str, Any]:
        """Who answers: at `/mcp/{upstream}` the upstream, as far as it said so."""
        upstream = self._upstreams.get(agent.view) if agent.view is not None else None
        known = upstream.known if upstream is not None else None
        return known.server_info if known is not None and known.server_info else SERVER_INFO

    # --- Lists ------------------------------------------------------------------------------------------------------

    async def _list(self, request: Request) -> dict[str, Any]:
        method = request.method
        await self._lookup.settle(request)
        await self._freshen(request)
        self._lookup.note(request)
        field, key = _LISTS[method]
        self._check_own(request, field)
        items = getattr(self._lookup.catalogue(request), field)
        cursor = request.params.get("cursor")
        served, cursor = page(items, cursor, self._settings.page_size, key, is_sorted=request.view is None)
        if field == "tools" and request.era is Era.HANDSHAKE:
            served = [for_handshake(tool) for tool in served]
        result: dict[str, Any] = {LIST_METHODS[method]: served}
        if cursor is not None:
            result["nextCursor"] = cursor
        if request.era is Era.MODERN:
            result |= self._cache_hints(request)
        return result

    def _check_own(self, viewer: Viewer, kind: str) -> None:
        """Who asks one upstream for a list is told that there is none, rather than that it is empty.

        Raises:
            UpstreamUnavailable: the upstream is away, or its list could not be had.
        """
        upstream = self._upstreams.get(viewer.view) if viewer.view is not None else None
        if upstream is not None and (upstream.listing is None or kind in upstream.listing.unknown):
            raise upstream.unavailable()

    def _cache_hints(self, viewer: Viewer) -> dict[str, Any]:
        """The strictest of the parts; an upstream that gave no hint allows no caching."""
        catalogue = self._lookup.catalogue(viewer)
        known = [upstream.known for upstream in self._lookup.candidates(viewer)]
        hinted = all(listing is not None and listing.ttl_ms is not None for listing in known)
        ttl = catalogue.ttl_ms if hinted and catalogue.ttl_ms is not None else 0
        varies = any(viewer.view in (None, name) for name in self._library.labels)  # by what clients declare
        return {"ttlMs": ttl, "cacheScope": "private" if catalogue.private or varies else "public"}

    async def _freshen(self, viewer: Viewer) -> None:
        stale = [upstream for upstream in self._lookup.upstreams(viewer) if upstream.is_stale()]
        if stale:
            async with anyio.create_task_group() as tg:
                for upstream in stale:
                    tg.start_soon(upstream.freshen, FRESHEN_SECONDS)

    # --- Calls, prompts, completions ----------------------------------------------------------------------------------

    async def _call_tool(self, request: Request) -> dict[str, Any]:
        name = string(request.params, "name")
        arguments = request.params.get("arguments")
        if arguments is not None and not isinstance(arguments, dict):
            raise InvalidParams("arguments must be an object")
        owner = await self._lookup.find(request, lambda catalogue: catalogue.tool(name))
        if owner is None:
            raise self._missing(request, name) or UnknownTool(name)
        request.headers = {**request.headers, **mirrored(owner, request.params)}
        params = {**request.params, "name": owner.original}
        if "task" in params and not self._extensions.makes_tasks(request.agent, self._upstream(owner.upstream)):
            del params["task"]  # nobody could ever ask for its result
        result = await self._forward(request, "tools", owner, params)
        if result.get("resultType") == "task":
            self._tasks.publish(result, owner.upstream, request.principal.id)
        return result

    def _missing(self, viewer: Viewer, name: str) -> UpstreamUnavailable | None:
        """Why there is nothing of that name, if its upstream is away."""
        upstream = self._lookup.away_owner(viewer, name)
        return upstream.unavailable() if upstream is not None else None

    async def _get_prompt(self, request: Request) -> dict[str, Any]:
        name = string(request.params, "name")
        owner = await self._lookup.find(request, lambda catalogue: catalogue.prompt(name))
        if owner is None:
            raise self._missing(request, name) or UnknownPrompt(name)
        return await self._forward(request, "prompts", owner, {**request.params, "name": owner.original})

    async def _complete(self, request: Request) -> dict[str, Any]:
        ref = as_object(request.params.get("ref"))
        kind: Kind = "prompts" if ref.get("type") == "ref/prompt" else "resources"
        if ref.get("type") == "ref/prompt":
            name, key = string(ref, "name"), "name"
            owner = await self._lookup.find(request, lambda catalogue: catalogue.prompt(name))
            if owner is None:
                raise UnknownPrompt(name)
        elif ref.get("type") == "ref/resource":
            uri, key = string(ref, "uri"), "uri"
            found = await self._lookup.find(
                request, lambda catalogue: catalogue.template(uri) or catalogue.resource(uri)
            )
            if found is None:
                raise unknown_resource(request, uri)
            owner = found
        else:
            raise InvalidParams("ref.type must be ref/prompt or ref/resource")
        result = await self._forward(request, kind, owner, {**request.params, "ref": {**ref, key: owner.original}})
        if kind == "resources" and not self._lookup.grant(request).unrestricted:
            admits = partial(self._lookup.admits_uri, request, owner.upstream)
            return permitted(result, owner.original, request.params, admits)
        return result

    async def _forward(self, request: Request, kind: Kind, owner: Owner, params: dict[str, Any]) -> dict[str, Any]:
        request.upstream = owner.upstream
        self._lookup.check(request, kind, owner)
        tool = owner.original if request.method == "tools/call" else None
        await self._limits.count_upstream(request, owner.upstream, tool)
        await self._log_messages.take_up(request, self._upstream(owner.upstream))
        with self._log_messages.at_work(owner.upstream, request):
            return await self._bridge.forward(request, self._upstream(owner.upstream), params)

    def _upstream(self, name: str) -> Upstream:
        """The one that serves under a name; not to be kept across an `await`, for then it may be another.

        Raises:
            UpstreamUnavailable: it was removed since the name was looked up.
        """
        upstream = self._upstreams.get(name)
        if upstream is None:
            raise UpstreamUnavailable(name, "gone", "it was taken out of the configuration")
        return upstream

    async def _read_resource(self, request: Request) -> dict[str, Any]:
        owner = await self._lookup.owner(request, string(request.params, "uri"))
        return await self._forward(request, "resources", owner, {**request.params, "uri": owner.original})


def _is_one_of_many(agent: Agent) -> bool:
    """Whether somebody else might be answered differently: with authentication, what one principal may use says nothing
    of another's, even if no rule and no credential tells them apart yet."""
    return agent.opener != ANONYMOUS


def _absence(away: Sequence[Upstream]) -> str | None:
    """For an agent's eyes: which servers it has to do without, for now."""
    names = ", ".join(f"`{upstream.name}`" for upstream in away[:MAX_NAMED])
    more = f" and {len(away) - MAX_NAMED} more" if len(away) > MAX_NAMED else ""
    return f"Not available at the moment, with all their tools: {names}{more}." if away else None
