"""News of tasks (`notifications/tasks`, SEP-2663) on agents' listen streams.

Whose a task is, its handle says, which is sealed for one principal. So an agent's stream that asks for tasks has
streams of its own at their upstreams, one at each; nothing that one agent asks for is shared with another, and there is
nothing to be kept apart. They end with the agent's.
"""

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any, Final, cast

import anyio
from anyio.abc import TaskGroup

from gateway.bridge.tasks import TaskHandles
from gateway.call import Call
from gateway.catalogue.catalogue import Owner
from gateway.errors import (
    GatewayError,
    InvalidParams,
    MethodNotFound,
    MissingClientCapability,
    UnknownTask,
    UpstreamError,
)
from gateway.jsonrpc import as_object
from gateway.protocol import TASKS
from gateway.request import Notify
from gateway.server.lookup import Lookup
from gateway.server.results import BoundedResults
from gateway.upstream.backoff import Backoff
from gateway.upstream.upstream import Upstream

MAX_TASKS: Final = 256
"""Most tasks of one listen stream."""
MAX_HANDLE: Final = 2_048
"""Characters of a handle."""
ACKNOWLEDGE_SECONDS: Final = 5.0
"""How long an acknowledgement waits for those of upstreams."""

ACKNOWLEDGED: Final = "notifications/subscriptions/acknowledged"
STATUS: Final = "notifications/tasks"


class TaskNews:
    def __init__(
        self, lookup: Lookup, upstreams: Mapping[str, Upstream], handles: TaskHandles, results: BoundedResults
    ) -> None:
        self.results = results
        self._lookup = lookup
        self._upstreams = upstreams
        self._handles = handles

    def requested(self, call: Call, notifications: Mapping[str, Any]) -> list[str]:
        """The public handles of which a stream is to tell, each once.

        Raises:
            InvalidParams: they are no list of handles, or too many.
            MissingClientCapability: its client does not know tasks.
        """
        given: object = notifications.get("taskIds")
        if given is None:
            return []
        handles = cast("list[object]", given) if isinstance(given, list) else [None]
        if not all(isinstance(handle, str) and len(handle) <= MAX_HANDLE for handle in handles):
            raise InvalidParams("taskIds must be a list of task ids")
        if len(handles) > MAX_TASKS:
            raise InvalidParams(f"A stream tells of at most {MAX_TASKS} tasks.")
        require_tasks(call)
        return list(dict.fromkeys(cast("list[str]", handles)))

    @asynccontextmanager
    async def heard(self, call: Call, handles: list[str]) -> AsyncGenerator["HeardTasks"]:
        """Hear of these tasks while the block runs, as far as they are its principal's; it begins once it is known of
        which."""
        owned: dict[str, dict[str, str]] = {}
        for public in handles:
            with suppress(UnknownTask):
                name, own = self._handles.open(public, call.principal.id)
                if self._lookup.sees_task(call, name, self._handles.tool(public, call.principal.id)):
                    owned.setdefault(name, {})[own] = public
        heard = HeardTasks()
        if not owned:
            yield heard
            return
        async with anyio.create_task_group() as tg:
            streams = [_TaskStream(self, call, name, publics, heard, tg) for name, publics in owned.items()]
            for stream in streams:
                tg.start_soon(stream.run)
            with anyio.move_on_after(ACKNOWLEDGE_SECONDS):
                for stream in streams:
                    await stream.settled.wait()
            agreed = {public for stream in streams for public in stream.agreed}
            heard.agreed = [handle for handle in handles if handle in agreed]
            yield heard
            tg.cancel_scope.cancel()

    def upstream(self, name: str) -> Upstream | None:
        return self._upstreams.get(name)

    def published(self, call: Call, name: str, public: str, task: dict[str, Any]) -> dict[str, Any] | None:
        """An upstream's task as the agent is to have it; None if it may not, or it cannot be looked into."""
        if not self._lookup.sees_task(call, name, self._handles.tool(public, call.principal.id)):
            return None
        task = {**task, "taskId": public}
        if name in self._lookup.shadows and not self._lookup.is_own(call.agent.view):
            with suppress(ValueError):
                self._lookup.relink(task, name)
                return task
            return None
        return task


class HeardTasks:
    """What there is to tell of tasks; kept until it is said whom."""

    def __init__(self) -> None:
        self.agreed: list[str] = []
        """Public handles that upstreams tell of."""
        self._kept: dict[str, dict[str, Any]] = {}
        """Public handle → how its task is."""
        self._notify: Notify | None = None

    def tell(self, task: dict[str, Any]) -> None:
        if self._notify is None:
            self._kept[task["taskId"]] = task
        else:
            self._notify(STATUS, task)

    def deliver_to(self, notify: Notify) -> None:
        self._notify = notify
        for task in self._kept.values():
            notify(STATUS, task)
        self._kept.clear()


class _TaskStream:
    """A listen stream at one upstream, on behalf of one of an agent's; opened again when it breaks."""

    def __init__(
        self, news: TaskNews, call: Call, name: str, publics: Mapping[str, str], heard: HeardTasks, tg: TaskGroup
    ) -> None:
        self.settled = anyio.Event()
        """Set once it is known what the upstream tells of."""
        self.agreed: list[str] = []
        self._news = news
        self._call = call
        self._name = name
        self._publics = publics
        self._heard = heard
        self._tasks = tg
        self._has_gap = False
        self._ended: set[str] = set()
        """Public handles of the tasks of whose end was told: there is no more to say, however often it is said."""
        self._too_large: dict[str, tuple[Owner, dict[str, Any]]] = {}
        """By public handle: tasks that may have ended with more than can be told at once, of which it is to be told."""

    async def run(self) -> None:
        backoff, wanted = Backoff(), {"taskIds": list(self._publics)}
        while (upstream := self._news.upstream(self._name)) is not None:
            opened_at = anyio.current_time()
            try:
                await upstream.listen(wanted, self._on_frame, self._call)
            except (UpstreamError, MethodNotFound):
                break
            except GatewayError:
                pass  # it is away, and will be back
            self._has_gap = True
            self.settled.set()
            await anyio.sleep(backoff.after(anyio.current_time() - opened_at, 1.0))
        self.settled.set()

    def _on_frame(self, method: str, params: dict[str, Any] | None) -> None:
        params = params or {}
        if method == ACKNOWLEDGED:
            said: object = as_object(params.get("notifications")).get("taskIds")
            owns = cast("list[object]", said) if isinstance(said, list) else []
            self.agreed = [self._publics[own] for own in owns if isinstance(own, str) and own in self._publics]
            self.settled.set()
            if self._has_gap:
                self._has_gap = False
                self._tasks.start_soon(self._catch_up)
        elif method == STATUS:
            self._tell(params)

    async def _catch_up(self) -> None:
        """Nobody heard what has become of them meanwhile."""
        for own in self._publics:
            if (upstream := self._news.upstream(self._name)) is not None:
                with suppress(GatewayError):
                    capabilities = self._call.agent.capabilities
                    task = await upstream.ask("tasks/get", {"taskId": own}, capabilities)
                    self._tell({key: value for key, value in task.items() if key not in ("resultType", "_meta")})

    def _tell(self, task: dict[str, Any]) -> None:
        public = self._publics.get(str(task.get("taskId")))
        told = public and self._news.published(self._call, self._name, public, task)
        if not public or not told:
            return
        has_ended = isinstance(told.get("result"), dict)
        owner = self._news.results.owner_of_task(self._call, self._name, public) if has_ended else None
        if owner is None:
            self._heard.tell(told)
        elif public not in self._ended:
            self._ended.add(public)
            self._too_large[public] = owner, told
            if len(self._too_large) == 1:
                self._tasks.start_soon(self._tell_heads)

    async def _tell_heads(self) -> None:
        """One after the other."""
        while self._too_large:
            public, (owner, task) = next(iter(self._too_large.items()))
            with suppress(GatewayError):
                self._heard.tell(await self._news.results.fit_task(self._call, owner, task))
            del self._too_large[public]


def require_tasks(call: Call) -> None:
    """
    Raises:
        MissingClientCapability: who calls does not declare that it knows tasks.
    """
    if TASKS not in as_object(as_object(call.agent.capabilities).get("extensions")):
        raise MissingClientCapability({"extensions": {TASKS: {}}})
