"""Log messages: each agent hears the levels it asked for, in its era's way of asking."""

from typing import Any

import pytest

from tests.interaction._connect import NEAR, Cell
from tests.interaction._requirements import requirement
from tests.interaction._wire import Answer, Wire
from tests.support import wait_until

LOGGED = {"debug": "a detail", "warning": "a doubt", "alert": "a fright"}
"""What the tool `test_logging_tool` logs."""


def log_at(wire: Wire, upstream: str, level: str | None) -> Answer:
    """Have everything logged, having asked for one level in the way of the era."""
    params: dict[str, Any] = {"name": f"{upstream}__test_logging_tool"}
    if level is not None and wire.modern:
        params["_meta"] = {"io.modelcontextprotocol/logLevel": level}
    elif level is not None:
        assert wire.ask("logging/setLevel", {"level": level}).result == {}
    return wire.ask("tools/call", params)


@requirement("logging:level")
@pytest.mark.parametrize("upstream", NEAR)
def test_an_agent_hears_what_it_asked_for_and_nothing_below(wire: Wire, upstream: str) -> None:
    for level, expected in (("debug", 3), ("info", 2), ("warning", 2), ("error", 1), ("alert", 1), ("emergency", 0)):
        answer = log_at(wire, upstream, level)
        assert [message["method"] for message in answer.own] == ["notifications/message"] * expected
        heard = [(message["params"]["level"], message["params"]["data"]) for message in answer.own]
        assert heard == list(LOGGED.items())[3 - expected :]


@requirement("logging:per-request")
@pytest.mark.parametrize("upstream", NEAR)
@pytest.mark.parametrize("wire", ["stdio-modern", "http-modern"], indirect=True)
def test_a_modern_request_that_asks_for_no_level_hears_nothing(wire: Wire, upstream: str) -> None:
    assert log_at(wire, upstream, "debug").own, "as the one before it"
    assert log_at(wire, upstream, None).own == []


@requirement("logging:per-request")
@pytest.mark.parametrize("wire", ["stdio-modern", "http-modern"], indirect=True)
def test_a_level_that_does_not_exist_is_refused(wire: Wire) -> None:
    assert log_at(wire, NEAR[0], "loud").error["code"] == -32602


@requirement("logging:level")
@pytest.mark.anyio
async def test_the_sdks_client_hears_its_level(cell: Cell) -> None:
    meta: Any = None
    if cell.agent.modern:
        meta = {"io.modelcontextprotocol/logLevel": "warning"}
    else:
        await cell.client.set_logging_level("warning")  # pyright: ignore[reportDeprecated] - the era's own way
    await cell.client.call_tool(cell.public("test_logging_tool"), meta=meta)
    await wait_until(lambda: "a fright" in heard(cell))
    assert heard(cell) == ["a doubt", "a fright"]


def heard(cell: Cell) -> list[Any]:
    return [params["data"] for params in cell.agent.heard_of("message")]
