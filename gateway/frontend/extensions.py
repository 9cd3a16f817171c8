"""Methods that are not MCP's own, but an extension's: passed to the one upstream they can be meant for."""

from collections.abc import Set
from typing import Any

from gateway.bridge.forward import Bridge
from gateway.bridge.tasks import EXTENSION as TASKS
from gateway.bridge.tasks import FAMILY, TaskHandles
from gateway.errors import InvalidParams, MethodNotFound, UnknownTask
from gateway.frontend.lookup import Lookup
from gateway.jsonrpc import as_object
from gateway.request import Agent, Request
from gateway.upstream.upstream import Upstream


class Extensions:
    """Handles every method that is none of MCP's own."""

    def __init__(self, lookup: Lookup, bridge: Bridge, tasks: TaskHandles) -> None:
        self._lookup = lookup
        self._bridge = bridge
        self._tasks = tasks

    async def route(self, request: Request) -> dict[str, Any]:
        """Answer a request whose method is none of MCP's own.

        Raises:
            MethodNotFound: no upstream can be meant, or more than one.
            GatewayError: the upstream's answer, or why there is none.
        """
        if family_of(request.method) == FAMILY:
            return await self._task(request)
        shared = _extensions(request.agent.capabilities).keys()
        # What such a method does is unknown, and so is what of the upstream it touches.
        owners = await self._offering(request, shared) if self._lookup.grant(request).unrestricted else []
        if len(owners) != 1:
            names = ", ".join(upstream.name for upstream in owners)
            raise MethodNotFound(request.method, f"{names} may each be meant; ask at /mcp/NAME" if owners else "")
        request.upstream = owners[0].name
        return await self._bridge.forward(request, owners[0], request.params)

    def makes_tasks(self, agent: Agent, upstream: Upstream) -> bool:
        """Whether what the agent asks of the upstream may become a task."""
        return TASKS in _extensions(agent.capabilities) and TASKS in _offered(upstream)

    async def _task(self, request: Request) -> dict[str, Any]:
        """Whatever it is, it is about one task, by a handle that its principal was given; there is no list of them."""
        if request.method == "tasks/list" or not await self._offering(request, {TASKS}):
            raise MethodNotFound(request.method)
        public = request.params.get("taskId")
        if not isinstance(public, str):
            raise InvalidParams("taskId must be a string")
        name, handle = self._tasks.open(public, request.principal.id)
        seen = {upstream.name: upstream for upstream in self._lookup.upstreams(request)}
        if name not in seen:
            raise UnknownTask(public)
        request.upstream = name
        result = await self._bridge.forward(request, seen[name], {**request.params, "taskId": handle})
        if result.get("taskId") == handle:
            result["taskId"] = public  # to the letter, also where it was sealed with a key that seals no longer
        else:
            self._tasks.publish(result, name, request.principal.id)
        return result

    async def _offering(self, request: Request, extensions: Set[str]) -> list[Upstream]:
        """Who offers one of these; if nobody does because its upstream is only just starting, that is waited for."""

        def now() -> list[Upstream]:
            return [upstream for upstream in self._lookup.upstreams(request) if extensions & _offered(upstream).keys()]

        return now() or (now() if await self._lookup.settle(request) else [])


def family_of(method: str) -> str:
    """The methods that belong together: `tools` of `tools/call`."""
    return method.partition("/")[0].strip().casefold()


def _offered(upstream: Upstream) -> dict[str, Any]:
    return _extensions(upstream.known.capabilities) if upstream.known is not None else {}


def _extensions(capabilities: Any) -> dict[str, Any]:
    return as_object(as_object(capabilities).get("extensions"))
