"""Progress of a call: under the agent's own token, in order, before the result, and only if asked for."""

from typing import Any

import pytest

from tests.interaction._connect import NEAR, Cell
from tests.interaction._requirements import requirement
from tests.interaction._wire import Wire


def slow(upstream: str, steps: int, **meta: Any) -> dict[str, Any]:
    """Parameters of a call that reports progress after each of its steps."""
    arguments = {"seconds": 0.01, "steps": steps}
    return {"name": f"{upstream}__slow", "arguments": arguments, **({"_meta": meta} if meta else {})}


@requirement("progress:order")
@pytest.mark.anyio
async def test_progress_arrives_in_order(cell: Cell) -> None:
    heard: list[tuple[float, float | None, str | None]] = []

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        heard.append((progress, total, message))

    arguments = {"seconds": 0.01, "steps": 4}
    await cell.client.call_tool(cell.public("slow"), arguments, progress_callback=on_progress)
    assert heard == [(step, 4, f"step {step} of 4") for step in (1, 2, 3, 4)]


@requirement("progress:token", "progress:order")
@pytest.mark.parametrize("upstream", NEAR)
@pytest.mark.parametrize("token", ["mine", "☃", "", 0, 7, 2**53 + 1])
def test_progress_has_the_agents_own_token_and_comes_before_the_result(
    wire: Wire, upstream: str, token: int | str
) -> None:
    answer = wire.ask("tools/call", slow(upstream, 3, progressToken=token))
    assert [message["method"] for message in answer.own] == ["notifications/progress"] * 3
    assert [message["params"]["progressToken"] for message in answer.own] == [token] * 3
    assert [message["params"]["progress"] for message in answer.own] == [1, 2, 3]
    assert answer.result["content"]


@requirement("progress:asked")
@pytest.mark.parametrize("upstream", NEAR)
def test_progress_is_not_sent_unasked(wire: Wire, upstream: str) -> None:
    assert wire.ask("tools/call", slow(upstream, 3)).own == []
