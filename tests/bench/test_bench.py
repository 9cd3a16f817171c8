"""The benchmark measures what it says: answers are checked, and what was found is written down in full."""

import json
from pathlib import Path
from xml.etree import ElementTree

import orjson
import pytest

from tests.bench import cycles, guard
from tests.bench.answers import answering, tools
from tests.bench.load import Measured, Work, Wrong
from tests.bench.report import chart, page
from tests.bench.rounds import Table
from tests.bench.verdicts import at_least, at_most, not_compared

WORKS = [
    Work(),
    Work(modern=True),
    Work("big", "big", size=2),
    Work("step", "step", modern=True, size=1),
    Work(kind="list", size=7),
]


@pytest.mark.parametrize("work", WORKS, ids=lambda work: f"{work.kind}{'-modern' * work.modern}")
def test_the_right_answer_and_no_other_is_taken(work: Work) -> None:
    listed = tools(7)
    answer = answering(lambda: listed)
    reply = answer(orjson.loads(work.body(12)))
    assert reply is not None
    work.check(12, orjson.dumps(reply))
    wrong = [reply | {"id": 13}, {"jsonrpc": "2.0", "id": 12, "error": {"code": 1, "message": "no"}}]
    if work.kind == "list":
        wrong.append(reply | {"result": {"tools": listed[1:]}})
    else:
        wrong.append(reply | {"result": {"content": [{"type": "text", "text": "something else"}]}})
        wrong.append(reply | {"result": reply["result"] | {"isError": True}})
    for each in wrong:
        with pytest.raises(Wrong):
            work.check(12, orjson.dumps(each))


def test_each_request_has_words_of_its_own() -> None:
    assert orjson.loads(Work().body(1))["params"] != orjson.loads(Work().body(2))["params"]


def test_a_page_has_every_row_and_every_system() -> None:
    table = Table()
    table.add("this & that", "32", Measured(1.0, [0.001, 0.002], 0.5, 1, 0.002, 0.0))
    rows = [at_most("cost", 1.0, 9.2), at_least("rate", 12, 15.0), not_compared("peer", "≥ 1 ×", "somebody")]
    written = page(rows, {"calls": table}, "scripts/bench")
    for expected in (
        "| cost | ≤ 1 × |  | 9.2 × | not yet |",
        "15 ×",
        "somebody is not there",
        "| 32 | this & that | 250,000 |",
    ):
        assert expected in written
    assert "this & that" in "".join(ElementTree.fromstring(chart("µs", {"this & that": 3.0})).itertext())


@pytest.mark.parametrize(("now", "holds"), [(2.0, True), (2.6, True), (2.61, False)])
def test_the_guard_bears_a_third_more_than_what_is_committed(
    now: float, holds: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "COMMITTED", tmp_path / "committed.json")
    guard.COMMITTED.write_text(json.dumps({"modern": 2.0, "handshake": 2.0}))
    monkeypatch.setattr(guard, "measured", lambda: {"modern": 2.0, "handshake": now})
    assert guard.guard() is holds


@pytest.mark.parametrize("kind", list(cycles.KINDS))
def test_no_call_leaves_work_to_the_garbage_collector(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A full collection of a large heap takes a hundred milliseconds, in which nobody is served."""
    assert cycles.measure([kind], 20, 20), capsys.readouterr().out
