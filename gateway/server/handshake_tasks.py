"""Tasks as the last handshake-era revision has them (2025-11-25, basic/utilities/tasks): a call is answered with a
task's handle, and its result is fetched later.

Whose a task is its handle says, which is sealed for one principal (`bridge.tasks`). Remembered is which tasks each
principal has, to list them (`TaskList`); and for each session the tasks that it has named, to whom news of them go.
"""

import secrets
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, cast

import anyio

from gateway.bridge.tasks import TaskHandles
from gateway.call import LASTING_PREFIX, Call
from gateway.catalogue.pages import page
from gateway.errors import GatewayError, MethodNotFound, UnknownTask, UpstreamError
from gateway.jsonrpc import RequestId, as_object
from gateway.protocol import INVALID_PARAMS, META_RELATED_TASK, PROGRESS, TASK_STATUS, TASKS_VERSION
from gateway.request import Agent, Principal, as_agent_knows, related_to
from gateway.server.agents import ConnectedAgent
from gateway.server.lookup import Lookup, Opener
from gateway.server.task_list import TaskList
from gateway.upstream.audience import Audience
from gateway.upstream.listing import Item, offers_tasks
from gateway.upstream.upstream import Upstream

MAX_NAMED: Final = 256
"""Tasks that a session has named and hears of; the one named longest ago goes first."""
PAGE_SIZE: Final = 50
MOST_AT_ONCE: Final = 8
"""How many upstreams are asked at a time what has become of a listed task."""

_Name = tuple[str, str]
"""`(upstream, its own handle)`."""


def takes_tasks(agent: Agent) -> bool:
    """Whether an agent speaks the revision."""
    return agent.version == TASKS_VERSION


def makes_tasks(agent: Agent, upstream: Upstream) -> bool:
    """Whether calls of the agent's at the upstream can be tasks."""
    return takes_tasks(agent) and offers_tasks(upstream.known)


@dataclass(frozen=True, slots=True)
class _Namer:
    """Who has named a task, and on whose behalf."""

    agent: ConnectedAgent
    principal: Principal
    tool: str | None
    """That the task is of, as far as its handle says."""


@dataclass(frozen=True, slots=True)
class _Progress:
    """Of which call, and who is told."""

    agent: Agent
    token: RequestId
    upstream: str


def needs_task(tool: Item) -> bool:
    """Whether a tool can only be called as a task."""
    return as_object(tool.get("execution")).get("taskSupport") == "required"


class HandshakeTasks:
    def __init__(self, lookup: Lookup, handles: TaskHandles) -> None:
        self.list = TaskList()
        self.forward: Callable[[Call], Awaitable[dict[str, Any]]] = _nowhere
        """Gets the result of a request from the upstream it is for: `Pipeline.forward`."""
        self._lookup = lookup
        self._handles = handles
        self._named: dict[str, OrderedDict[_Name, str]] = {}
        """Agent's id → the tasks it has named, and their public handles."""
        self._who: dict[_Name, dict[str, _Namer]] = {}
        """By agents' ids: who has named a task."""
        self._progress: dict[str, _Progress] = {}
        """By the token that the upstream has: of calls that are tasks now, or may yet be."""
        self._tokens: dict[str, OrderedDict[str, None]] = {}
        """Agent's id → tokens that upstreams have on its behalf."""

    # --- Calls --------------------------------------------------------------------------------------------------------

    def begin(self, call: Call, upstream: str) -> None:
        """A call may become a task: its progress goes on when it has been answered."""
        if (public := call.progress_token) is None:
            return
        agent, token = call.agent, LASTING_PREFIX + secrets.token_urlsafe(16)
        call.lasting_token = token
        self._progress[token] = _Progress(agent, public, upstream)
        tokens = self._tokens.setdefault(agent.id, OrderedDict())
        tokens[token] = None
        if len(tokens) > MAX_NAMED:
            del self._progress[tokens.popitem(last=False)[0]]

    async def keep(self, call: Call, upstream: str, result: dict[str, Any], tool: str | None = None) -> None:
        """A call that might become a task was answered: give its agent the handle, and remember whose it is. Changes
        the result in place.

        Args:
            tool: see `TaskHandles.public`.
        """
        task = as_object(result.get("task"))
        own = task.get("taskId")
        if not isinstance(own, str):
            return
        public = self._handles.public(upstream, own, call.principal.id, tool)
        result["task"] = {**task, "taskId": public}
        self.name(call, upstream, own, public)
        await self.list.add(call.principal, public)

    def name(self, call: Call, upstream: str, own: str, public: str) -> None:
        """A session names a task, which is its principal's."""
        agent = cast(ConnectedAgent, call.agent)
        named = self._named.setdefault(agent.id, OrderedDict())
        agent.tasks = named
        named[upstream, own] = public
        named.move_to_end((upstream, own))
        tool = self._handles.tool(public, call.principal.id)
        self._who.setdefault((upstream, own), {})[agent.id] = _Namer(agent, call.principal, tool)
        if len(named) > MAX_NAMED:
            self._forget(agent, named.popitem(last=False)[0])

    def finish(self, call: Call, upstream: str, result: dict[str, Any]) -> None:
        """Name the task in the result of `tasks/result` as its agent knows it. Changes it in place."""
        meta = as_object(result.get("_meta"))
        if META_RELATED_TASK in meta:
            result["_meta"] = related_to({"_meta": meta}, call.params["taskId"])["_meta"]

    def close(self, agent: ConnectedAgent) -> None:
        """It has gone."""
        for name in self._named.pop(agent.id, ()):
            self._forget(agent, name)
        for token in self._tokens.pop(agent.id, ()):
            del self._progress[token]

    def _forget(self, agent: ConnectedAgent, name: _Name) -> None:
        who = self._who.get(name, {})
        who.pop(agent.id, None)
        if not who:
            self._who.pop(name, None)

    # --- What upstreams say -------------------------------------------------------------------------------------------

    def on_status(self, upstream: Upstream, params: dict[str, Any], audience: Audience) -> None:
        """News of a task are for the sessions of its principal that have named it, as far as they are served by the
        connection it came by. If they are of several principals, upstreams' own handles are no names, and it is
        nobody's."""
        own = params.get("taskId")
        who = self._who.get((upstream.name, own), {}) if isinstance(own, str) else {}
        hear = [namer for namer in who.values() if _is_served(namer.agent, upstream, audience)]
        if len({namer.principal.id for namer in hear}) != 1:
            return
        for namer in hear:
            agent = namer.agent
            if self._lookup.sees_task(Opener(agent), upstream.name, namer.tool):
                public = self._named[agent.id][upstream.name, str(own)]
                agent.notify(TASK_STATUS, {**related_to(params, None), "taskId": public})

    def on_progress(self, upstream: str, params: dict[str, Any]) -> None:
        """Progress that names no request that waits: of a task, if it has the token of one."""
        token = params.get("progressToken")
        progress = self._progress.get(token) if isinstance(token, str) else None
        if progress is not None and progress.upstream == upstream:
            said = as_agent_knows(progress.agent, upstream, params)
            progress.agent.notify(PROGRESS, {**said, "progressToken": progress.token})

    # --- tasks/list ---------------------------------------------------------------------------------------------------

    async def listed(self, call: Call) -> dict[str, Any]:
        """The result of `tasks/list`: those of the principal that their upstreams still know.

        Raises:
            MethodNotFound: nobody offers tasks.
            InvalidParams: the cursor is none.
            StoreUnavailable: it cannot be found out which tasks it has.
        """
        if not takes_tasks(call.agent) or not await self.are_offered(call):
            raise MethodNotFound(call.method)
        items = [{"taskId": handle} for handle in await self.list.of(call.principal)]
        served, cursor = page(items, call.params.get("cursor"), PAGE_SIZE, "taskId", is_sorted=False)
        tasks: dict[str, dict[str, Any]] = {}
        gone: list[str] = []
        turn = anyio.Semaphore(MOST_AT_ONCE)

        async def look(handle: str) -> None:
            asked = Call(call.id, "tasks/get", {"taskId": handle}, call.agent, call.principal, _say_nothing)
            async with turn:
                try:
                    tasks[handle] = await self.forward(asked)
                except UpstreamError as error:
                    if error.code == INVALID_PARAMS and self._is_final(asked):
                        gone.append(handle)
                except GatewayError:
                    pass  # its upstream is away, or its principal may use it no longer

        async with anyio.create_task_group() as tg:
            for item in served:
                tg.start_soon(look, item["taskId"])
        if gone:
            await self.list.drop(call.principal, gone)
        result: dict[str, Any] = {"tasks": [tasks[each["taskId"]] for each in served if each["taskId"] in tasks]}
        return result | ({"nextCursor": cursor} if cursor is not None else {})

    def _is_final(self, asked: Call) -> bool:
        """Whether a task that an upstream does not know is none: it was not asked by a session, or a program, of which
        there may be another that made the task, at another node or for another session here."""
        upstream = next((each for each in self._lookup.upstreams(asked) if each.name == asked.upstream), None)
        if upstream is None or self.list.is_shared:
            return False
        return upstream.links.link_now(asked.agent) is upstream.links.main

    async def are_offered(self, call: Call) -> bool:
        """Whether an upstream that the caller sees offers tasks; waits for those that are only just starting."""

        def now() -> bool:
            return any(offers_tasks(upstream.known) for upstream in self._lookup.upstreams(call))

        return now() or (await self._lookup.settle(call) and now())


def _is_served(agent: Agent, upstream: Upstream, audience: Audience) -> bool:
    """Whether an agent's requests are sent over the connection of that audience."""
    if audience.is_private:
        return audience.includes(agent)
    return upstream.links.link_now(agent) is upstream.links.main


def _say_nothing(method: str, params: dict[str, Any] | None) -> None:
    """Nobody hears of what is asked to make a list."""


async def _nowhere(call: Call) -> dict[str, Any]:
    raise UnknownTask(str(call.params.get("taskId")))
