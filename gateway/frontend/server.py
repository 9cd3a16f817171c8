"""What an MCP server answers: one method table for both eras and every front.

The fronts turn bytes into a `Request` and a result into bytes; the rooms behind this one do the rest. A `tools/call`
comes in at `route`, finds its owner in the catalogue and leaves through `bridge.forward`.
"""

from collections.abc import Awaitable, Callable, Collection, Hashable, Mapping, Sequence
from contextlib import suppress
from typing import Any, TypeVar, cast

import anyio
import structlog

from gateway.access.layers import Limits
from gateway.access.policy import Grant, Policy, Rule
from gateway.bridge.envelope import SERVER_INFO, dress_result
from gateway.bridge.forward import Bridge
from gateway.bridge.log_levels import LogRequests, is_wanted
from gateway.bridge.subscriptions import Listener, Subscriptions
from gateway.bridge.tasks import TaskHandles
from gateway.catalogue.catalogue import Ambiguous, Catalogue, Owner, changed
from gateway.catalogue.library import Library
from gateway.catalogue.merge import Prefix
from gateway.catalogue.pages import page
from gateway.config.models import GatewaySettings
from gateway.errors import (
    GatewayError,
    InvalidParams,
    InvalidRequest,
    InvalidRequestState,
    MethodNotFound,
    UnknownPrompt,
    UnknownResource,
    UnknownTool,
    UpstreamError,
    UpstreamUnavailable,
)
from gateway.frontend.agents import ConnectedAgent
from gateway.frontend.extensions import Extensions
from gateway.frontend.param_headers import mirrored
from gateway.frontend.places import Places
from gateway.jsonrpc import as_object
from gateway.protocol import (
    CHANGE_NOTIFICATIONS,
    HANDSHAKE_VERSIONS,
    INVALID_PARAMS,
    LIST_METHODS,
    LOG_LEVELS,
    META_SUBSCRIPTION_ID,
    MODERN_VERSIONS,
    RESOURCE_NOT_FOUND,
    Era,
)
from gateway.request import QUESTIONS, Agent, Request
from gateway.upstream.upstream import Upstream

log = structlog.stdlib.get_logger("gateway.frontend")

Handler = Callable[[Request], Awaitable[dict[str, Any]]]

T = TypeVar("T")

FRESHEN_SECONDS = 5.0
"""How long a listing waits for an upstream whose lists have expired, before it makes do with the old ones."""

SUBSCRIBE_SECONDS = 5.0
"""How long an answer waits for upstreams to take up the subscriptions or the log level it is about."""

_LISTS = {
    "tools/list": ("tools", "name"),
    "resources/list": ("resources", "uri"),
    "resources/templates/list": ("templates", "uriTemplate"),
    "prompts/list": ("prompts", "name"),
}
"""Method → the catalogue's field, and what identifies an item in it."""


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
        self._limits = limits
        self._library = library
        self._upstreams = upstreams
        self._bridge = bridge
        self._tasks = tasks
        self._extensions = Extensions(policy, bridge, tasks, self._seen_by)
        self._notify_listing = on_listing
        self._places = places
        self._subscriptions = Subscriptions()
        self._agents: dict[str, tuple[ConnectedAgent, Listener]] = {}
        self._log_requests = LogRequests()
        self._listening: dict[Listener, tuple[Agent, anyio.Event]] = {}
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
                "resources/subscribe": self._subscribe,
                "resources/unsubscribe": self._unsubscribe,
                "logging/setLevel": self._set_level,
            },
            Era.MODERN: everywhere | {"server/discover": self._discover, "subscriptions/listen": self._listen},
        }

        self._own = frozenset(QUESTIONS).union(*self._methods.values())
        """MCP's own methods of both eras and directions: no extension has those."""

    async def route(self, request: Request) -> dict[str, Any]:
        """Answer one request.

        Raises:
            GatewayError: whatever the agent is to be told instead of a result.
        """
        handler = self._methods[request.agent.era].get(request.method)
        if handler is None:
            if request.method in self._own or request.method.startswith("notifications/"):
                raise MethodNotFound(request.method)
            handler = self._extensions.route
        agent = request.agent
        return dress_result(await handler(request), request.method, agent.era, self._identity(agent))

    # --- Agents come and go -----------------------------------------------------------------------------------------

    def open(self, agent: ConnectedAgent) -> None:
        """A handshake-era agent has connected: from now on it hears of changes."""
        listener = Listener(self._key(agent), tuple(CHANGE_NOTIFICATIONS), agent.notify, admits=self._admits_to(agent))
        self._agents[agent.id] = agent, listener
        self._subscriptions.add(listener)

    async def close(self, agent: ConnectedAgent) -> None:
        """It has gone: give up what was held for it alone."""
        _, listener = self._agents.pop(agent.id, (None, None))
        for upstream in self._upstreams.values():
            upstream.release(agent.id)
        if listener is not None:
            await self._want(self._subscriptions.remove(listener))
            if agent.log_level is not None:
                await self._share_log_level()

    async def hear(self, agent: ConnectedAgent, method: str, params: dict[str, Any]) -> None:
        """A handshake-era agent says something unasked: what concerns upstreams is passed on."""
        if method == "notifications/roots/list_changed":
            for upstream in list(self._upstreams.values()):
                await upstream.tell(agent, method, params or None)

    def end_streams(self, principals: Collection[str] | None = None) -> None:
        """End listen streams, gracefully: all of them (the gateway is about to stop), or those of principals (ids) that
        are no longer good, and of their agents."""
        for agent, ended in self._listening.values():
            if principals is None or agent.principal.is_one_of(principals):
                ended.set()

    # --- The configuration changes ------------------------------------------------------------------------------------

    def configure(self, settings: GatewaySettings, rules: Sequence[Rule], prefix: Prefix) -> None:
        """Take up other settings, rules and upstreams, and tell everybody which of the lists they see have changed."""
        agents = {listener: agent for agent, listener in self._agents.values()}
        agents |= {listener: agent for listener, (agent, _) in self._listening.items()}
        before = {listener: self._library.view(*self._key(agent)) for listener, agent in agents.items()}
        self._settings = settings
        self._policy.use(rules)
        servers = {name: upstream.config for name, upstream in self._upstreams.items()}
        self._library.configure(servers, prefix, [(name, each.listing) for name, each in self._upstreams.items()])
        for listener, agent in agents.items():
            listener.key = self._key(agent)
            for uri in [uri for uri, resource in listener.resources.items() if not listener.admits(*resource)]:
                self._subscriptions.unsubscribe(listener, uri)
            for kind in sorted(changed(before[listener], self._catalogue(agent)) & set(listener.kinds)):
                listener.notify(CHANGE_NOTIFICATIONS[kind], None)

    async def brief(self, upstream: Upstream) -> None:
        """One begins to serve, perhaps in another's place: what its agents want of it is asked of it anew."""
        wanted = self._subscriptions.wanted(upstream.name)
        with suppress(GatewayError):
            await upstream.want(wanted)
        await self._share_log_level(upstream)
        for uri in sorted(wanted):  # it may have changed with the server
            self._subscriptions.resource_updated(upstream.name, {"uri": uri})

    # --- What its upstreams say (upstream.Observer) -----------------------------------------------------------------

    def on_listing(self, upstream: Upstream, announced: Collection[str]) -> None:
        """Who sees the merged catalogue hears of what changed in it; who sees the upstream alone, what it announced."""
        if self._upstreams.get(upstream.name) is not upstream:
            return  # it does not serve yet, or not any more
        affected = self._library.update([(upstream.name, upstream.listing)])
        changes: dict[Hashable, set[str]] = {}
        for key in cast("set[tuple[str | None, Grant]]", self._subscriptions.keys()):
            view, grant = key
            changes[key] = set(self._library.changes(view, grant)) if view in affected else set()
            if view == upstream.name and grant.unrestricted:
                changes[key].update(announced)
        self._subscriptions.lists_changed(changes)
        self._notify_listing(upstream)

    def on_resource_updated(self, upstream: str, params: dict[str, Any]) -> None:
        self._subscriptions.resource_updated(upstream, params)

    def on_message(self, upstream: str, method: str, params: dict[str, Any], agent: Agent | None) -> None:
        """A message that names no request. What came by a connection that has one client is for that client alone."""
        if method == "notifications/message":
            if agent is None:
                self._on_log(upstream, params)
            elif is_wanted(agent, params):
                agent.notify(method, params)
        elif method == "notifications/elicitation/complete" and agent is not None and agent.era is Era.HANDSHAKE:
            agent.notify(method, params)

    def _on_log(self, upstream: str, params: dict[str, Any]) -> None:
        """If everybody connected is the same principal it is theirs; else it could be about somebody else's business,
        and is nobody's. Among theirs it is for who alone is served there now, if one is; a modern request gets it only
        then, for it has no stream that outlives it."""
        agents = [agent for agent, _ in self._agents.values()]
        requests = self._log_requests.working(upstream)
        if len({agent.principal.id for agent in (*agents, *(request.agent for request in requests))}) != 1:
            return
        if len({request.agent.id for request in requests}) == 1:
            if is_wanted(requests[-1].agent, params):
                requests[-1].notify("notifications/message", params)
            return
        for agent in agents:
            if agent.view in (None, upstream) and is_wanted(agent, params):
                agent.notify("notifications/message", params)

    # --- Opening ----------------------------------------------------------------------------------------------------

    async def _initialize(self, request: Request) -> dict[str, Any]:
        agent = cast(ConnectedAgent, request.agent)
        requested = request.params.get("protocolVersion")
        if not isinstance(requested, str):
            raise InvalidParams("protocolVersion must be a string")
        agent.version = requested if requested in HANDSHAKE_VERSIONS else HANDSHAKE_VERSIONS[-1]
        agent.capabilities = as_object(request.params.get("capabilities"))  # lenient: absent means none
        agent.info = as_object(request.params.get("clientInfo"))
        await self._settle(agent)
        return {"protocolVersion": agent.version, "serverInfo": self._identity(agent), **self._offer(agent)}

    async def _discover(self, request: Request) -> dict[str, Any]:
        agent = request.agent
        await self._settle(agent)
        return {"supportedVersions": list(MODERN_VERSIONS), **self._offer(agent), **self._cache_hints(agent)}

    async def _ping(self, request: Request) -> dict[str, Any]:
        return {}

    def _offer(self, agent: Agent) -> dict[str, Any]:
        catalogue = self._catalogue(agent)
        capabilities = dict(catalogue.capabilities)
        if any(upstream.known is None for upstream in self._seen_by(agent)):
            # One of them has yet to say what it offers. What is not declared now could never be offered later.
            for kind in CHANGE_NOTIFICATIONS:
                capabilities.setdefault(kind, {"listChanged": True})
        offer: dict[str, Any] = {"capabilities": capabilities}
        if catalogue.instructions:
            offer["instructions"] = catalogue.instructions
        return offer

    def _identity(self, agent: Agent) -> Mapping[str, Any]:
        """Who answers: at `/mcp/{upstream}` the upstream, as far as it said so."""
        upstream = self._upstreams.get(agent.view) if agent.view is not None else None
        known = upstream.known if upstream is not None else None
        return known.server_info if known is not None and known.server_info else SERVER_INFO

    # --- Lists ------------------------------------------------------------------------------------------------------

    async def _list(self, request: Request) -> dict[str, Any]:
        agent, method = request.agent, request.method
        await self._settle(agent)
        await self._freshen(agent)
        field, key = _LISTS[method]
        items = getattr(self._catalogue(agent), field)
        cursor = request.params.get("cursor")
        served, cursor = page(items, cursor, self._settings.page_size, key, is_sorted=agent.view is None)
        result: dict[str, Any] = {LIST_METHODS[method]: served}
        if cursor is not None:
            result["nextCursor"] = cursor
        if agent.era is Era.MODERN:
            result |= self._cache_hints(agent)
        return result

    def _cache_hints(self, agent: Agent) -> dict[str, Any]:
        """The strictest of the parts; an upstream that gave no hint allows no caching."""
        catalogue = self._catalogue(agent)
        hinted = all(
            upstream.known is not None and upstream.known.ttl_ms is not None for upstream in self._seen_by(agent)
        )
        ttl = catalogue.ttl_ms if hinted and catalogue.ttl_ms is not None else 0
        return {"ttlMs": ttl, "cacheScope": "private" if catalogue.private else "public"}

    async def _settle(self, agent: Agent) -> bool:
        """While upstreams are starting for the first time, wait a little for what they offer: many agents list once.
        Returns whether there was anything to wait for."""
        waiting = [upstream for upstream in self._seen_by(agent) if not upstream.settled.is_set()]
        if waiting:
            with anyio.move_on_after(self._settings.startup_wait):
                for upstream in waiting:
                    await upstream.settled.wait()
        return bool(waiting)

    async def _freshen(self, agent: Agent) -> None:
        stale = [upstream for upstream in self._seen_by(agent) if upstream.is_stale()]
        if stale:
            async with anyio.create_task_group() as tg:
                for upstream in stale:
                    tg.start_soon(upstream.freshen, FRESHEN_SECONDS)

    def _seen_by(self, agent: Agent) -> list[Upstream]:
        grant = self._policy.grant(agent.principal)
        return [
            upstream
            for name, upstream in self._upstreams.items()
            if agent.view in (None, name) and grant.sees_upstream(name)
        ]

    # --- Calls, prompts, completions ----------------------------------------------------------------------------------

    async def _call_tool(self, request: Request) -> dict[str, Any]:
        name = _string(request.params, "name")
        arguments = request.params.get("arguments")
        if arguments is not None and not isinstance(arguments, dict):
            raise InvalidParams("arguments must be an object")
        owner = await self._find(request.agent, lambda catalogue: catalogue.tool(name))
        if owner is None:
            raise UnknownTool(name)
        request.headers = {**request.headers, **mirrored(owner.item, request.params)}
        result = await self._forward(request, owner, {**request.params, "name": owner.original})
        if result.get("resultType") == "task":
            self._tasks.publish(result, owner.upstream, request.agent.principal.id)
        return result

    async def _get_prompt(self, request: Request) -> dict[str, Any]:
        name = _string(request.params, "name")
        owner = await self._find(request.agent, lambda catalogue: catalogue.prompt(name))
        if owner is None:
            raise UnknownPrompt(name)
        return await self._forward(request, owner, {**request.params, "name": owner.original})

    async def _complete(self, request: Request) -> dict[str, Any]:
        ref = as_object(request.params.get("ref"))
        if ref.get("type") == "ref/prompt":
            name, key = _string(ref, "name"), "name"
            owner = await self._find(request.agent, lambda catalogue: catalogue.prompt(name))
            if owner is None:
                raise UnknownPrompt(name)
        elif ref.get("type") == "ref/resource":
            uri, key = _string(ref, "uri"), "uri"
            found = await self._find(
                request.agent, lambda catalogue: catalogue.template(uri) or catalogue.resource(uri)
            )
            if not isinstance(found, Owner):
                raise self._unknown_resource(request, uri, found)
            owner = found
        else:
            raise InvalidParams("ref.type must be ref/prompt or ref/resource")
        return await self._forward(request, owner, {**request.params, "ref": {**ref, key: owner.original}})

    async def _find(self, agent: Agent, look_up: Callable[[Catalogue], T | None]) -> T | None:
        """Look something up; if it is not there because its upstream is only just starting, wait for that."""
        found = look_up(self._catalogue(agent))
        if found is None and await self._settle(agent):
            found = look_up(self._catalogue(agent))
        return found

    async def _forward(self, request: Request, owner: Owner, params: dict[str, Any]) -> dict[str, Any]:
        request.upstream = owner.upstream
        tool = owner.original if request.method == "tools/call" else None
        await self._limits.count_upstream(request, owner.upstream, tool)
        agent = request.agent
        if agent.era is Era.MODERN and agent.log_level and self._log_requests.asks(owner.upstream, agent.log_level):
            await self._share_log_level(self._upstream(owner.upstream))
        with self._log_requests.at_work(owner.upstream, request):
            return await self._bridge.forward(request, self._upstream(owner.upstream), params)

    def _upstream(self, name: str) -> Upstream:
        """The one that serves under a name, which is to be used at once: whatever waits may find another.

        Raises:
            UpstreamUnavailable: it was removed since its name was found.
        """
        upstream = self._upstreams.get(name)
        if upstream is None:
            raise UpstreamUnavailable(name, "gone", "it was taken out of the configuration")
        return upstream

    # --- Resources ----------------------------------------------------------------------------------------------------

    async def _read_resource(self, request: Request) -> dict[str, Any]:
        uri = _string(request.params, "uri")
        owners = await self._owners(request, uri)
        for owner in owners[:-1]:
            try:
                return await self._forward(request, owner, {**request.params, "uri": owner.original})
            except InvalidRequestState:
                pass  # then the next of them gave it to the agent
            except UpstreamError as error:
                if error.code not in (RESOURCE_NOT_FOUND, INVALID_PARAMS):
                    raise
        return await self._forward(request, owners[-1], {**request.params, "uri": owners[-1].original})

    async def _subscribe(self, request: Request) -> dict[str, Any]:
        uri = _string(request.params, "uri")
        owner = (await self._owners(request, uri))[0]
        listener = self._listener(request.agent)
        request.upstream = owner.upstream
        self._subscriptions.subscribe(listener, uri, (owner.upstream, owner.original))
        try:
            await self._want({owner.upstream})
        except GatewayError:
            self._subscriptions.unsubscribe(listener, uri)
            raise
        return {}

    def _listener(self, agent: Agent) -> Listener:
        """
        Raises:
            InvalidRequest: there is no way to tell it anything later.
        """
        _, listener = self._agents.get(agent.id, (None, None))
        if listener is None:
            raise InvalidRequest("This needs a session. Open one with initialize.")
        return listener

    async def _unsubscribe(self, request: Request) -> dict[str, Any]:
        listener = self._listener(request.agent)
        request.upstream = self._subscriptions.unsubscribe(listener, _string(request.params, "uri"))
        if request.upstream is not None:
            await self._want({request.upstream})
        return {}

    async def _listen(self, request: Request) -> dict[str, Any]:
        """Acknowledge, then pass on what was asked for until the agent leaves or the gateway stops."""
        with self._places.held(request.agent.principal):
            return await self._listen_in_place(request)

    async def _listen_in_place(self, request: Request) -> dict[str, Any]:
        wanted, uris = _listen_filter(request.params)
        kinds = [kind for kind in CHANGE_NOTIFICATIONS if wanted.get(f"{kind}ListChanged") is True]
        tag = {META_SUBSCRIPTION_ID: request.id}

        def notify(method: str, params: dict[str, Any] | None) -> None:
            rest = params or {}
            request.notify(method, {**rest, "_meta": {**as_object(rest.get("_meta")), **tag}})

        # Mute until acknowledged: that comes first on the stream, and only once nothing can be missed any more.
        admits = self._admits_to(request.agent)
        listener = Listener(self._key(request.agent), kinds, lambda method, params: None, admits=admits)
        for uri in uris:
            if owners := await self._owners(request, uri, strict=False):
                listener.resources[uri] = owners[0].upstream, owners[0].original
        self._subscriptions.add(listener)
        ended = anyio.Event()
        self._listening[listener] = request.agent, ended
        try:
            async with anyio.create_task_group() as tg:
                for upstream in {upstream for upstream, _ in listener.resources.values()}:
                    tg.start_soon(self._take_up, listener, upstream)
            honoured: dict[str, Any] = {f"{kind}ListChanged": True for kind in kinds}
            if listener.resources:
                honoured["resourceSubscriptions"] = list(listener.resources)
            notify("notifications/subscriptions/acknowledged", {"notifications": honoured})
            listener.notify = notify
            await ended.wait()
        finally:
            del self._listening[listener]
            with anyio.CancelScope(shield=True), anyio.move_on_after(1):
                await self._want(self._subscriptions.remove(listener))
        return {"_meta": tag}

    async def _take_up(self, listener: Listener, upstream: str) -> None:
        """Subscribe to the listener's resources at one upstream; those it refuses, or is too slow for, are dropped."""
        with anyio.move_on_after(SUBSCRIBE_SECONDS), suppress(GatewayError):
            await self._want({upstream})
            return
        for uri in [uri for uri, (owner, _) in listener.resources.items() if owner == upstream]:
            self._subscriptions.unsubscribe(listener, uri)

    async def _owners(self, request: Request, uri: str, *, strict: bool = True) -> list[Owner]:
        """Who may serve a URI, likeliest first. With `strict`, at least one or an error."""
        agent = request.agent
        found = await self._find(
            agent, lambda catalogue: catalogue.resource(uri) or catalogue.templates_for(uri) or None
        )
        if isinstance(found, Owner):
            return [found]
        # Nobody lists it: a template may stand for it, or there is only one who can know it.
        guesses = found if isinstance(found, list) else []
        if found is None and agent.view is not None:
            guesses = [Owner(agent.view, uri, {})]
        if owners := [owner for owner in guesses if self._admits_uri(agent, owner.upstream, owner.original)]:
            return owners
        if strict:
            raise self._unknown_resource(request, uri, found if isinstance(found, Ambiguous) else None)
        return []

    def _admits_uri(self, agent: Agent, upstream: str, own: str) -> bool:
        """Whether the policy lets an agent have an upstream's URI that it was not listed, by every name it has."""
        grant = self._policy.grant(agent.principal)
        return grant.unrestricted or all(
            grant.admits(upstream, public) for public in self._library.whole(None).public_uris(upstream, own)
        )

    def _unknown_resource(self, request: Request, uri: str, found: Ambiguous | None) -> UnknownResource:
        hint = f". Several upstreams have it; use one of {', '.join(found.choices)}" if found is not None else ""
        error = UnknownResource(uri, hint)
        if request.agent.era is Era.MODERN:
            error.code = INVALID_PARAMS
        return error

    async def _want(self, upstreams: set[str]) -> None:
        for name in upstreams:
            if (upstream := self._upstreams.get(name)) is not None:
                await upstream.want(self._subscriptions.wanted(name))

    # --- Logging ------------------------------------------------------------------------------------------------------

    async def _set_level(self, request: Request) -> dict[str, Any]:
        level = request.params.get("level")
        if level not in LOG_LEVELS:
            raise InvalidParams(f"level must be one of {', '.join(LOG_LEVELS)}")
        cast(ConnectedAgent, request.agent).log_level = level
        await self._share_log_level()
        return {}

    async def _share_log_level(self, *upstreams: Upstream) -> None:
        """Have these upstreams, or all, run at the most verbose level asked for; waits a little for them to agree."""
        levels = [agent.log_level for agent, _ in self._agents.values()]
        with anyio.move_on_after(SUBSCRIBE_SECONDS):
            async with anyio.create_task_group() as tg:
                for upstream in upstreams or self._upstreams.values():
                    level = self._log_requests.level(upstream.name, levels)
                    tg.start_soon(self._set_log_level, upstream, level)

    async def _set_log_level(self, upstream: Upstream, level: str | None) -> None:
        try:
            await upstream.set_log_level(level)
        except GatewayError as error:
            log.warning("log level not set", upstream=upstream.name, reason=error.message)

    # --- Who sees what ------------------------------------------------------------------------------------------------

    def _catalogue(self, agent: Agent) -> Catalogue:
        return self._library.view(agent.view, self._policy.grant(agent.principal))

    def _admits_to(self, agent: Agent) -> Callable[[str, str], bool]:
        return lambda upstream, own: self._admits_uri(agent, upstream, own)

    def _key(self, agent: Agent) -> tuple[str | None, Grant]:
        return agent.view, self._policy.grant(agent.principal)


def _listen_filter(params: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """What a listen stream asks for: the whole filter, and the URIs in it."""
    if not isinstance(params.get("notifications"), dict):
        raise InvalidParams("notifications must be an object")
    wanted = as_object(params["notifications"])
    uris: object = wanted.get("resourceSubscriptions") or []
    if not isinstance(uris, list) or not all(isinstance(uri, str) for uri in cast("list[object]", uris)):
        raise InvalidParams("resourceSubscriptions must be a list of URIs")
    return wanted, cast("list[str]", uris)


def _string(params: Mapping[str, Any], key: str) -> str:
    value = params.get(key)
    if not isinstance(value, str):
        raise InvalidParams(f"{key} must be a string")
    return value
