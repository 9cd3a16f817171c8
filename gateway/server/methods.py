"""What the gateway answers itself, as the MCP server that agents see: opening, lists, subscriptions, log levels."""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any, Final, cast

import anyio
import msgspec

from gateway import jsonrpc
from gateway.access.places import SessionQuota
from gateway.access.policy import Grant, Policy, Rule
from gateway.access.profiles import Profile
from gateway.bridge.envelope import SERVER_INFO, dress_result
from gateway.bridge.tasks import TaskHandles
from gateway.call import Answerer, Call
from gateway.catalogue import adapted, skills
from gateway.catalogue.catalogue import Catalogue
from gateway.catalogue.library import CatalogueViews
from gateway.catalogue.merge import Prefix
from gateway.catalogue.pages import page
from gateway.catalogue.repairs import for_handshake
from gateway.catalogue.shapes import ViewShape
from gateway.catalogue.visibility import View
from gateway.config.models import GatewaySettings, ServerConfig
from gateway.errors import MethodNotFound
from gateway.protocol import (
    CHANGE_NOTIFICATIONS,
    LIST_METHODS,
    MODERN_VERSIONS,
    PROGRESS,
    TASK_STATUS,
    Era,
)
from gateway.request import ANONYMOUS, QUESTIONS, Agent
from gateway.server.agents import ConnectedAgent, introduce
from gateway.server.extensions import Extensions, family_of
from gateway.server.handshake_tasks import HandshakeTasks, takes_tasks
from gateway.server.listening import Listening
from gateway.server.log_messages import LogMessages
from gateway.server.lookup import Lookup, Opener, Viewer
from gateway.server.recently import Recently
from gateway.server.results import BoundedResults
from gateway.server.session_facts import SessionFacts
from gateway.server.targets import Targets
from gateway.server.tool_search import ToolSearch
from gateway.store.results import KeptResults
from gateway.upstream.audience import Audience
from gateway.upstream.upstream import Upstream

MAX_NAMED: Final = 10
"""Of the servers that are away, in the instructions."""
FRESHEN_SECONDS = 5.0
"""How long a listing waits for an upstream whose lists have expired, before it makes do with the old ones."""

_LISTS = {
    "tools/list": ("tools", "name"),
    "resources/list": ("resources", "uri"),
    "resources/templates/list": ("templates", "uriTemplate"),
    "prompts/list": ("prompts", "name"),
    "skills/list": ("skills", "uri"),
}
"""Method → the catalogue's field, and what identifies an item in it."""

FORWARDED: Final = (
    *("tools/call", "prompts/get", "resources/read", "completion/complete"),
    *("skills/get", "resources/directory/read"),
)
"""Methods that upstreams answer: MCP's own, and those of skills."""
UNKNOWN_CAPABILITIES: Final[Mapping[str, Any]] = {
    **{kind: {"listChanged": True} for kind in CHANGE_NOTIFICATIONS},
    "completions": {},
    "logging": {},
    "tasks": {"list": {}, "cancel": {}, "requests": {"tools": {"call": {}}}},
}
"""What an upstream of which nothing is known yet may turn out to have."""


class Server:
    """The gateway as the MCP server its agents see. Also the observer of its upstreams.

    Args:
        on_listing: told when an upstream's lists changed, after the agents were.
        places: what listen streams take one of.
        kept: where results are that were too large to be given at once.
    """

    def __init__(
        self,
        settings: GatewaySettings,
        policy: Policy,
        library: CatalogueViews,
        upstreams: Mapping[str, Upstream],
        tasks: TaskHandles,
        on_listing: Callable[[Upstream], None],
        places: SessionQuota,
        kept: KeptResults,
    ) -> None:
        self._settings = settings
        self._policy = policy
        self._library = library
        self._upstreams = upstreams
        self._notify_listing = on_listing
        self._recently = Recently(lambda: library.revision)
        self.lookup = Lookup(policy, library, upstreams, settings.startup_wait)
        self.tool_search = ToolSearch(self.lookup, library)
        self.results = BoundedResults(self.lookup, kept, tasks, upstreams)
        self._listening = Listening(self.lookup, library, upstreams, places, tasks, self.results)
        self.tasks = HandshakeTasks(self.lookup, tasks)
        self.log_messages = LogMessages(upstreams, self.lookup.sees)
        self.session_facts = SessionFacts(self.lookup, self._listening, self.log_messages, self.tool_search)
        everywhere: dict[str, Answerer] = dict.fromkeys(LIST_METHODS, self._list)
        self.methods: dict[Era, dict[str, Answerer]] = {
            Era.HANDSHAKE: everywhere
            | {
                "initialize": self._initialize,
                "ping": self._ping,
            }
            | self.session_facts.methods,
            Era.MODERN: everywhere
            | {
                "server/discover": self._discover,
                "subscriptions/listen": self._listening.listen,
            },
        }
        """What is answered here, and not by an upstream."""
        methods = frozenset(QUESTIONS).union(FORWARDED, *self.methods.values())
        own = frozenset(family_of(method) for method in methods) | {"notifications"}
        extensions = Extensions(self.lookup, tasks, self.tasks)
        self.targets = Targets(self.lookup, upstreams, extensions, own, self.tool_search, self.tasks, self.results)

    async def run(self) -> None:
        """See `Listening.run`, `ToolSearch.run` and `BoundedResults.run`."""
        async with anyio.create_task_group() as tg:
            tg.start_soon(self.tool_search.run)
            tg.start_soon(self.results.run)
            await self._listening.run()

    def dress(self, call: Call, result: dict[str, Any]) -> None:
        """Give a result what its agent's era requires. Changes it in place."""
        agent = call.agent
        identity = SERVER_INFO if agent.view is None else self._identity(agent)
        dress_result(result, call.method, agent.era, identity)
        if "cacheScope" in result and _is_one_of_many(agent):
            result["cacheScope"] = "private"

    # --- Agents come and go -----------------------------------------------------------------------------------------

    def open(self, agent: ConnectedAgent) -> None:
        """A handshake-era agent has connected."""
        self._listening.open(agent)
        self.log_messages.open(agent)

    async def restore(self, agent: ConnectedAgent, facts: Mapping[str, str]) -> None:
        """See `SessionFacts.restore`."""
        await self.session_facts.restore(agent, facts)

    async def find_lost(
        self, agent: ConnectedAgent, facts: Mapping[str, str], is_gone: Callable[[str], Awaitable[bool]]
    ) -> None:
        """See `SessionFacts.find_lost`."""
        await self.session_facts.find_lost(agent, facts, is_gone)

    async def idle(self, agent: ConnectedAgent) -> None:
        """See `SessionFacts.idle`."""
        await self.session_facts.idle(agent)

    async def close(self, agent: ConnectedAgent) -> None:
        """It has gone: give up what was held for it alone."""
        for upstream in self._upstreams.values():
            upstream.release(agent.id)
        self.session_facts.close(agent)
        self.tool_search.close(agent)
        self.tasks.close(agent)
        await self._listening.close(agent)
        await self.log_messages.close(agent)

    async def hear(self, agent: ConnectedAgent, method: str, params: dict[str, Any]) -> None:
        """A handshake-era agent says something unasked: what concerns upstreams is passed on."""
        if method == "notifications/initialized":
            self.lookup.note(Opener(agent))
        elif method == "notifications/roots/list_changed":
            for upstream in list(self._upstreams.values()):
                await upstream.links.tell(agent, method, params or None)

    async def has_view(self, view: str | None, grant: Grant) -> bool:
        """See `Lookup.has`."""
        return await self.lookup.has(view, grant)

    def end_streams(self, principals: Collection[str] | None = None) -> None:
        """See `Listening.end_streams`."""
        self._listening.end_streams(principals)

    # --- The configuration changes ------------------------------------------------------------------------------------

    async def prepare(self, servers: Mapping[str, ServerConfig], prefix: Prefix) -> None:
        """Make beside the event loop what `configure` will need."""
        await self._library.prepare(servers, prefix, [(each.name, each.listing) for each in self._upstreams.values()])

    def configure(
        self,
        settings: GatewaySettings,
        rules: Sequence[Rule],
        profiles: Mapping[str, Profile],
        shapes: Mapping[View, ViewShape],
        prefix: Prefix,
    ) -> None:
        """Take up other settings, rules, profiles and upstreams, and tell everybody which of the lists they see have
        changed."""
        servers = {name: upstream.config for name, upstream in self._upstreams.items()}
        listings = [(name, upstream.listing) for name, upstream in self._upstreams.items()]
        with self._listening.reconciler.through_change():
            self._settings = settings
            self.lookup.startup_wait = settings.startup_wait
            self.results.use(settings.results)
            self._policy.use(rules, profiles)
            self._library.configure(servers, prefix, listings, shapes)
        self.tool_search.changed()

    def reconsider(self) -> None:
        """Somebody approved that URIs become another server's: tell everybody which lists have changed."""
        with self._listening.reconciler.through_change():
            self._library.reconsider()

    async def restore_subscriptions(self, upstream: Upstream) -> None:
        """One begins to serve, perhaps in another's place: what agents want of it is asked of it anew."""
        await self.log_messages.restore_subscriptions(upstream)
        await self._listening.reconciler.restore_subscriptions(upstream)

    # --- What its upstreams say (upstream.Observer) -----------------------------------------------------------------

    async def on_listing(self, upstream: Upstream, announced: Collection[str]) -> None:
        await self._listening.on_listing(upstream, announced)
        self.tool_search.changed()
        self._notify_listing(upstream)

    def on_resource_updated(self, upstream: str, uri: str, audience: Audience) -> None:
        self._listening.on_resource_updated(upstream, uri, audience)

    def on_message(self, upstream: str, method: str, params: dict[str, Any], audience: Audience) -> None:
        agent = audience.agent
        if method == "notifications/message":
            self.log_messages.on_log(upstream, params, audience)
        elif method == PROGRESS:
            self.tasks.on_progress(upstream, params)
        elif method == TASK_STATUS:
            if upstream in self._upstreams:
                self.tasks.on_status(self._upstreams[upstream], params, audience)
        elif method == "notifications/elicitation/complete" and agent is not None and agent.era is Era.HANDSHAKE:
            agent.notify(method, params)

    def on_sight(self) -> None:
        with self._listening.reconciler.through_change():
            pass  # it has changed already; who saw what before is known

    def on_own_process(self, upstream: str, agent: Agent) -> None:
        self.session_facts.on_own_process(upstream, agent)

    # --- Opening ----------------------------------------------------------------------------------------------------

    async def _initialize(self, call: Call) -> dict[str, Any]:
        agent = cast(ConnectedAgent, call.agent)
        introduce(agent, call.params)
        self._listening.introduced(agent)
        return {"protocolVersion": agent.version, "serverInfo": self._identity(agent), **self._offer(call)}

    async def _discover(self, call: Call) -> dict[str, Any]:
        self.lookup.note(call)
        return {
            "supportedVersions": list(MODERN_VERSIONS),
            **self._offer(call),
            **self._cache_hints(call, self.lookup.catalogue(call)),
        }

    async def _ping(self, call: Call) -> dict[str, Any]:
        return {}

    def _offer(self, viewer: Viewer) -> dict[str, Any]:
        catalogue = self.lookup.catalogue(viewer)
        capabilities = dict(catalogue.capabilities)
        if any(upstream.known is None for upstream in self.lookup.candidates(viewer)):
            # One of them has yet to say what it offers. What is not declared now could never be offered later.
            capabilities = {**UNKNOWN_CAPABILITIES, **capabilities}
            capabilities["resources"] = {**capabilities["resources"], "subscribe": True}
        if not takes_tasks(viewer.agent):
            capabilities.pop("tasks", None)
        offer: dict[str, Any] = {"capabilities": capabilities}
        parts = [catalogue.instructions, _absence(self.lookup.away(viewer))]
        if instructions := "\n\n".join(filter(None, parts)):
            offer["instructions"] = instructions
        return offer

    def _identity(self, agent: Agent) -> Mapping[str, Any]:
        """Who answers: at `/mcp/{upstream}` the upstream, as far as it said so."""
        upstream = self._upstreams.get(agent.view) if agent.view is not None else None
        known = upstream.known if upstream is not None else None
        return known.server_info if known is not None and known.server_info else SERVER_INFO

    # --- Lists ------------------------------------------------------------------------------------------------------

    async def _list(self, call: Call) -> dict[str, Any]:
        method = call.method
        hints, waited = self._recently.hints(call), False
        if hints is None:
            waited = await self.lookup.settle(call)
            await self._freshen(call)
            self.lookup.note(call)
        field, key = _LISTS[method]
        if call.agent.view is not None:
            self._check_own(call, field)
        is_modern = call.agent.era is Era.MODERN
        if field == "skills" and not skills.are_offered(self.lookup.catalogue(call).capabilities):
            raise MethodNotFound(method)
        catalogue, cursor, size = self.lookup.catalogue(call), call.params.get("cursor"), self._settings.page_size
        name = method, is_modern, size, jsonrpc.dumps(cursor) if cursor is not None else None
        prepared = catalogue.pages.get(name)
        if prepared is None:
            is_sorted = not self._library.is_own(call.view)
            served, after = page(getattr(catalogue, field), cursor, size, key, is_sorted=is_sorted)
            if field == "tools" and catalogue.dialect is not None:
                served = await adapted.shown_in_steps(catalogue, served)
            if field == "tools" and not is_modern:
                served = [for_handshake(tool) for tool in served]
            prepared = msgspec.Raw(jsonrpc.dumps_to_keep(served)), after
            if cursor is None or any(cursor == following for _, following in catalogue.pages.values()):
                catalogue.pages[name] = prepared  # not for cursors that a client made up: there is no end of those
        if hints is None:
            hints = self._cache_hints(call, catalogue)
            if not waited:
                self._recently.keep(call, hints)
        result: dict[str, Any] = {LIST_METHODS[method]: prepared[0]}
        if catalogue.searched and field == "tools" and (found := self.tool_search.found(call, catalogue)):
            listed = adapted.all_shown(catalogue, catalogue.tools)
            whole = sorted([*map(for_handshake, listed), *found], key=lambda tool: tool["name"])
            return {"tools": whole}
        if prepared[1] is not None:
            result["nextCursor"] = prepared[1]
        if is_modern:
            result |= hints
        return result

    def _check_own(self, viewer: Viewer, kind: str) -> None:
        """Who asks one upstream for a list is told that there is none, rather than that it is empty.

        Raises:
            UpstreamUnavailable: the upstream is away, or its list could not be had.
        """
        upstream = self._upstreams.get(viewer.view) if viewer.view is not None else None
        if upstream is not None and (upstream.listing is None or kind in upstream.listing.unknown):
            raise upstream.unavailable()

    def _cache_hints(self, viewer: Viewer, catalogue: Catalogue) -> dict[str, Any]:
        """The strictest of the parts; an upstream that gave no hint allows no caching."""
        known = [upstream.known for upstream in self.lookup.candidates(viewer)]
        hinted = all(listing is not None and listing.ttl_ms is not None for listing in known)
        ttl = catalogue.ttl_ms if hinted and catalogue.ttl_ms is not None else 0
        varies = any(self._library.covers(viewer.view, name) for name in self._library.labels)  # by what is declared
        return {"ttlMs": ttl, "cacheScope": "private" if catalogue.private or varies else "public"}

    async def _freshen(self, viewer: Viewer) -> None:
        stale = [upstream for upstream in self._upstreams.values() if upstream.is_stale()]
        stale = [upstream for upstream in stale if self.lookup.sees(viewer, upstream.name)]
        if stale:
            async with anyio.create_task_group() as tg:
                for upstream in stale:
                    tg.start_soon(upstream.freshen, FRESHEN_SECONDS)


def _is_one_of_many(agent: Agent) -> bool:
    """Whether somebody else might be answered differently: with authentication, what one principal may use says nothing
    of another's, even if no rule and no credential tells them apart yet."""
    return agent.opener.id != ANONYMOUS.id


def _absence(away: Sequence[Upstream]) -> str | None:
    """For an agent's eyes: which servers it has to do without, for now."""
    names = ", ".join(f"`{upstream.name}`" for upstream in away[:MAX_NAMED])
    more = f" and {len(away) - MAX_NAMED} more" if len(away) > MAX_NAMED else ""
    return f"Not available at the moment, with all their tools: {names}{more}." if away else None
