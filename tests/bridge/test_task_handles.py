"""Handles of tasks: whose they are, and of which tool where that was said."""

import pytest

from gateway.bridge.tasks import TaskHandles
from gateway.errors import UnknownTask, UpstreamProtocolError

HANDLES = TaskHandles(["new", "old"])


@pytest.mark.parametrize("tool", [None, "export", "ü"])
def test_a_handle_says_whose_it_is_and_of_which_tool(tool: str | None) -> None:
    public = HANDLES.public("one", "7", "key:a", tool)
    assert HANDLES.open(public, "key:a") == ("one", "7")
    assert HANDLES.tool(public, "key:a") == tool
    assert public == HANDLES.public("one", "7", "key:a", tool)
    assert TaskHandles(["old", "new"]).tool(public, "key:a") == tool


@pytest.mark.parametrize("public", ["task-", "7", "task-AAAA", HANDLES.public("one", "7", "key:b", "export")])
def test_anothers_and_none_are_alike(public: str) -> None:
    for look in (HANDLES.open, HANDLES.tool):
        with pytest.raises(UnknownTask):
            look(public, "key:a")


@pytest.mark.parametrize("handle", ["x" * 1_500, "ä" * 800, "\x00" * 300])
def test_a_handle_that_is_too_long_to_be_kept_is_refused(handle: str) -> None:
    with pytest.raises(UpstreamProtocolError, match=f"'one'.* {len(handle)} characters"):
        HANDLES.public("one", handle, "key:a", "export")
    with pytest.raises(UpstreamProtocolError):
        HANDLES.publish({"taskId": handle}, "one", "key:a")
    assert HANDLES.open(HANDLES.public("one", handle[:100], "key:a"), "key:a") == ("one", handle[:100])
