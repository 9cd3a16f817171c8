"""What a tool says while it works: plain lines in a pipe, one bar on a terminal."""

import io

import pytest

from gateway.cli.ui.progress import Progress


class Terminal(io.StringIO):
    encoding = "utf-8"  # pyright: ignore[reportAssignmentType, reportIncompatibleMethodOverride]

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def terminal_of_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("NO_COLOR", "1")


def test_plain_lines_in_a_pipe() -> None:
    stream = io.StringIO()
    show = Progress(stream)
    show("notifications/progress", {"progress": 3, "total": 10, "message": "copying\nmuch"})
    show("notifications/progress", {"progress": 0.5})
    show("notifications/message", {"level": "warning", "logger": "disk", "data": "slow"})
    show("notifications/message", {"level": "info", "data": {"free": 1}})
    show("notifications/tools/list_changed", None)
    show.done()
    assert stream.getvalue().splitlines() == [
        "progress 3/10 copying",
        "progress 0.5",
        "warning disk: slow",
        'info {"free":1}',
    ]


def test_a_bar_on_a_terminal_that_is_gone_when_done() -> None:
    stream = Terminal()
    show = Progress(stream)
    show("notifications/progress", {"progress": 5, "total": 10, "message": "half"})
    frames = stream.getvalue().split("\r")
    assert "█" * 12 + "░" * 12 + "  50%  5/10  half" in frames[-1]
    show("notifications/progress", {"progress": 20, "total": 10})
    assert "█" * 24 + " 100%  20/10" in stream.getvalue().split("\r")[-1]
    show.done()
    assert stream.getvalue().split("\r")[-1].strip("\x1b[K") == ""
    assert "\n" not in stream.getvalue()


def test_a_log_message_pushes_the_bar_down() -> None:
    stream = Terminal()
    show = Progress(stream)
    show("notifications/progress", {"progress": 1, "message": "busy"})
    show("notifications/message", {"level": "info", "data": "hello"})
    above, below = stream.getvalue().split("\n")
    assert above.endswith("hello")
    assert below.endswith("1  busy")


def test_a_long_message_does_not_wrap() -> None:
    stream = Terminal()
    Progress(stream)("notifications/progress", {"progress": 1, "total": 2, "message": "x" * 200})
    assert len(stream.getvalue().removeprefix("\r\x1b[K")) <= 79


def test_nonsense_is_survived() -> None:
    stream = io.StringIO()
    show = Progress(stream)
    show("notifications/progress", {"progress": "many", "total": None, "message": None})
    show("notifications/message", {"level": 3})
    assert stream.getvalue().splitlines() == ["progress 0", "3 null"]
