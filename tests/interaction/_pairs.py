"""Two agents at once, each with words of its own, so that whatever reaches the wrong one shows."""

import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import uuid4

import anyio
import mcp_types as types
from mcp.client.context import ClientRequestContext

from tests.interaction._connect import NEAR, UPSTREAMS, Agent, Cell
from tests.support import wait_until

PLACES: Final = (
    [(front, upstream) for front in ("http-handshake", "http-modern") for upstream in UPSTREAMS]
    + [(front, upstream) for front in ("stdio-handshake", "stdio-modern") for upstream in NEAR]
    + [("sse-handshake", "stdio-handshake")]
)
"""Front and upstream: the four cells over every kind of upstream, and again from agents' own pipes."""

SECONDS: Final = 20.0
"""Longest that anything two agents do at once may take; a gateway that had one wait for the other would never end."""

Context = ClientRequestContext


async def _at_once() -> None: ...


class Mind:
    """Answers what its agent is asked, in words that nobody else uses, and remembers every question."""

    def __init__(self, action: str) -> None:
        self.action: Any = action
        """What it says to a page it is to visit."""
        self.word = ""
        self.asked: list[dict[str, Any]] = []
        self.before_answering: Callable[[], Awaitable[None]] = _at_once

    def options(self) -> dict[str, Any]:
        """For the SDK's `Client`."""
        return {
            "sampling_callback": self._sample,
            "sampling_capabilities": types.SamplingCapability(tools=types.SamplingToolsCapability()),
            "elicitation_callback": self._elicit,
            "list_roots_callback": self._list_roots,
        }

    async def _sample(
        self, context: Context, params: types.CreateMessageRequestParams
    ) -> types.CreateMessageResult | types.CreateMessageResultWithTools:
        await self._hear(params)
        if params.tools:
            use = types.ToolUseContent(type="tool_use", id="1", name="look_up", input={"word": self.word})
            return types.CreateMessageResultWithTools(role="assistant", content=[use], model="m", stop_reason="toolUse")
        content = types.TextContent(type="text", text=self.word)
        return types.CreateMessageResult(role="assistant", content=content, model="m")

    async def _elicit(self, context: Context, params: types.ElicitRequestParams) -> types.ElicitResult:
        await self._hear(params)
        if isinstance(params, types.ElicitRequestURLParams):
            return types.ElicitResult(action=self.action)
        return types.ElicitResult(action="accept", content={"answer": self.word})

    async def _list_roots(self, context: Context) -> types.ListRootsResult:
        await self._hear(None)
        return types.ListRootsResult(roots=[types.Root.model_validate({"uri": f"file:///{self.word}"})])

    async def _hear(self, params: Any) -> None:
        self.asked.append({} if params is None else params.model_dump(by_alias=True, mode="json", exclude_none=True))
        await self.before_answering()


@dataclass
class Party:
    """One of the two: what it is called in its questions and answers, and all that it has heard."""

    cell: Cell
    mind: Mind
    progress: list[str] = field(default_factory=list[str])
    results: list[Any] = field(default_factory=list[Any])

    @property
    def word(self) -> str:
        return self.mind.word

    def begin(self, letter: str) -> None:
        """Forget everything."""
        self.mind.word = f"{letter}-{uuid4().hex}"
        self.mind.before_answering = _at_once
        self.cell.agent.heard.clear()
        for heard in (self.mind.asked, self.progress, self.results):
            heard.clear()

    async def call(self, tool: str, /, meta: dict[str, Any] | None = None, **arguments: Any) -> types.CallToolResult:
        name = self.cell.public(tool)
        options: Any = {"meta": meta} if meta else {}
        result = await self.cell.client.call_tool(name, arguments, progress_callback=self._on_progress, **options)
        self.results.append(result.model_dump(by_alias=True, mode="json"))
        return result

    async def ask(self, *kinds: str, together: bool = False) -> dict[str, Any]:
        """Have the upstream ask these; returns the answers as it got them."""
        answers = (await self.call("ask", word=self.word, kinds=kinds, together=together)).structured_content
        assert isinstance(answers, dict)
        return answers  # pyright: ignore[reportUnknownVariableType]

    async def _on_progress(self, progress: float, total: float | None, message: str | None) -> None:
        self.progress.append(message or "")

    def everything(self) -> str:
        """All that has reached it."""
        return json.dumps([self.mind.asked, self.cell.agent.heard, self.progress, self.results])


@dataclass
class Pair:
    """Two agents of one era, at the same upstream through the same kind of front."""

    first: Party
    second: Party

    def __iter__(self) -> Any:
        return iter((self.first, self.second))

    async def both(self, act: Callable[[Party], Awaitable[Any]]) -> list[Any]:
        """Have both act at once; what each got."""
        got: list[Any] = [None, None]

        async def one(number: int, party: Party) -> None:
            got[number] = await act(party)

        with anyio.fail_after(SECONDS):
            async with anyio.create_task_group() as tg:
                tg.start_soon(one, 0, self.first)
                tg.start_soon(one, 1, self.second)
        return got

    async def ask(self, *kinds: str, together: bool = False) -> list[Any]:
        """Both have the upstream ask these; neither answers its first question before the other was asked too."""
        for party in self:
            party.mind.before_answering = self._until_both_are_asked
        return await self.both(lambda party: party.ask(*kinds, together=together))

    async def _until_both_are_asked(self) -> None:
        await wait_until(lambda: self.first.mind.asked and self.second.mind.asked, SECONDS)

    def assert_apart(self) -> None:
        """Neither has heard a word of the other's."""
        assert self.second.word not in self.first.everything()
        assert self.first.word not in self.second.everything()


@asynccontextmanager
async def minded(make: Callable[[dict[str, Any]], Agent]) -> AsyncGenerator[list[tuple[Agent, Mind]]]:
    """Two connected agents that can be asked anything.

    Args:
        make: an agent with these options for its client.
    """
    minds = [Mind("accept"), Mind("decline")]
    async with AsyncExitStack() as stack:
        agents = [await stack.enter_async_context(make(mind.options()).connected()) for mind in minds]
        yield list(zip(agents, minds, strict=True))


def pair_of(agents: Sequence[tuple[Agent, Mind]], front: str, upstream: str) -> Pair:
    """Both at one upstream, all forgotten."""
    parties = [Party(Cell(agent, front, upstream), mind) for agent, mind in agents]
    for letter, party in zip("ab", parties, strict=True):
        party.begin(letter)
    return Pair(*parties)
