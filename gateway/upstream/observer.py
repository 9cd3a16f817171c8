"""Who is told what happens at an upstream."""

from collections.abc import Collection
from typing import TYPE_CHECKING, Any, Protocol

from gateway.request import Agent
from gateway.upstream.audience import Audience

if TYPE_CHECKING:
    from gateway.upstream.upstream import Upstream


class Observer(Protocol):
    """Called on the loop; must not block."""

    async def on_listing(self, upstream: "Upstream", announced: Collection[str]) -> None:
        """What it offers changed, or began or ceased to count; `announced` are the kinds of lists (`tools`, …) it said
        had changed, which need not be true."""
        ...

    def on_resource_updated(self, upstream: str, uri: str, audience: Audience) -> None:
        """The upstream says that a resource of its changed; `audience` is whom that may concern."""
        ...

    def on_message(self, upstream: str, method: str, params: dict[str, Any], audience: Audience) -> None:
        """Another notification that belongs to no request, such as a log message."""
        ...

    def on_sight(self) -> None:
        """Who sees which lists is another matter by now: somebody has logged in, or out."""
        ...

    def on_own_process(self, upstream: str, agent: Agent) -> None:
        """A session is about to get a process of its own.

        Raises:
            StateGone: it had one before, at a node that is gone, and does not know that yet.
        """
        ...
