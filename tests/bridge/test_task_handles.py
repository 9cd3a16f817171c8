"""Handles of tasks: whose they are, and of which tool where that was said."""

import pytest

from gateway.bridge.tasks import TaskHandles
from gateway.errors import UnknownTask

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
