"""Methods that are not MCP's own, but an extension's: passed to the one upstream they can be meant for."""

from collections.abc import Set
from typing import Any

from gateway import sdk
from gateway.bridge.tasks import FAMILY, HANDSHAKE_METHODS, METHODS, TaskHandles
from gateway.call import Call, string
from gateway.errors import HeaderMismatch, MethodNotFound, UnknownTask
from gateway.jsonrpc import as_object
from gateway.protocol import TASKS, Era
from gateway.request import Agent
from gateway.server.handshake_tasks import HandshakeTasks, makes_tasks, takes_tasks
from gateway.server.lookup import Lookup
from gateway.server.task_news import require_tasks
from gateway.upstream.listing import offers_tasks
from gateway.upstream.upstream import Upstream


class Extensions:
    """Finds who is meant by every method that is none of MCP's own."""

    def __init__(self, lookup: Lookup, tasks: TaskHandles, handshake_tasks: HandshakeTasks) -> None:
        self._lookup = lookup
        self._tasks = tasks
        self._handshake_tasks = handshake_tasks

    async def find(self, call: Call) -> tuple[str, dict[str, Any]]:
        """Which upstream is meant by a method that is none of MCP's own, and the parameters for it.

        Raises:
            MethodNotFound: no upstream can be meant, or more than one.
            UnknownTask: there is no such task.
            MissingClientCapability, HeaderMismatch: the request is not one of a client of tasks.
        """
        if family_of(call.method) == FAMILY:
            return await self._task(call)
        shared = _extensions(call.agent.capabilities).keys()
        # What such a method does is unknown, and so is what of the upstream it touches.
        owners = await self._offering(call, shared) if self._lookup.grant(call).unrestricted else []
        if len(owners) != 1:
            names = ", ".join(upstream.name for upstream in owners)
            raise MethodNotFound(call.method, f"{names} may each be meant; ask at /mcp/NAME" if owners else "")
        return owners[0].name, call.params

    def makes_tasks(self, agent: Agent, upstream: Upstream) -> bool:
        """Whether what the agent asks of the upstream may become a task."""
        return (TASKS in _extensions(agent.capabilities) and TASKS in _offered(upstream)) or makes_tasks(
            agent, upstream
        )

    async def _task(self, call: Call) -> tuple[str, dict[str, Any]]:
        """Whatever it is, it is about one task, by a handle that its principal was given."""
        is_old = takes_tasks(call.agent) and call.method in HANDSHAKE_METHODS
        is_old = is_old and await self._handshake_tasks.are_offered(call)
        if not is_old:
            if call.method not in METHODS or not await self._offering(call, {TASKS}):
                raise MethodNotFound(call.method)
            require_tasks(call)
        _check_name(call)
        public = string(call.params, "taskId")
        name, handle = self._tasks.open(public, call.principal.id)
        tool = self._tasks.tool(public, call.principal.id)
        upstream = next((each for each in self._lookup.upstreams(call) if each.name == name), None)
        if not self._lookup.sees_task(call, name, tool):
            upstream = None
        if upstream is None or not (is_old if offers_tasks(upstream.known) else _knows_tasks(call)):
            raise UnknownTask(public)
        if is_old and offers_tasks(upstream.known):
            self._handshake_tasks.name(call, name, handle, public)
        return name, {**call.params, "taskId": handle}

    def publish(
        self, call: Call, upstream: str, params: dict[str, Any], result: dict[str, Any], tool: str | None = None
    ) -> None:
        """Put the public handle of a task into a result. Changes it in place.

        Args:
            tool: see `TaskHandles.public`.
        """
        if call.method == "tasks/result":
            self._handshake_tasks.finish(call, upstream, result)
            return
        handle = result.get("taskId")
        if family_of(call.method) == FAMILY and handle is not None and handle == params.get("taskId"):
            result["taskId"] = call.params["taskId"]  # to the letter, also where a key sealed it that seals no longer
        else:
            self._tasks.publish(result, upstream, call.principal.id, tool)

    async def _offering(self, call: Call, extensions: Set[str]) -> list[Upstream]:
        """Who offers one of these; if nobody does because its upstream is only just starting, that is waited for."""

        def now() -> list[Upstream]:
            return [upstream for upstream in self._lookup.upstreams(call) if extensions & _offered(upstream).keys()]

        return now() or (now() if await self._lookup.settle(call) else [])


def _check_name(call: Call) -> None:
    """
    Raises:
        HeaderMismatch: `Mcp-Name` says another task than the request (SEP-2663).
    """
    name = (call.agent_headers or {}).get("mcp-name") if call.agent.era is Era.MODERN else None
    if name is None:
        return
    sdk.load()
    from mcp.shared.inbound import decode_header_value

    if decode_header_value(name) != call.params.get("taskId"):
        raise HeaderMismatch("Mcp-Name header does not match taskId")


def family_of(method: str) -> str:
    """The methods that belong together: `tools` of `tools/call`."""
    return method.partition("/")[0].strip().casefold()


def _knows_tasks(call: Call) -> bool:
    return TASKS in _extensions(call.agent.capabilities)


def _offered(upstream: Upstream) -> dict[str, Any]:
    return _extensions(upstream.known.capabilities) if upstream.known is not None else {}


def _extensions(capabilities: Any) -> dict[str, Any]:
    return as_object(as_object(capabilities).get("extensions"))
