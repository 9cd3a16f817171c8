"""The notes on disk: private, whole, bounded, and never overwritten by mistake."""

import datetime as dt
import stat
from pathlib import Path

import pytest

from gateway.demo import notebook
from gateway.demo.notebook import NoSuchNote, Note, Notebook, NotebookError, default_path

NOON = dt.datetime(2026, 3, 30, 14, 0, tzinfo=dt.timezone(dt.timedelta(hours=2)))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "state" / "notes.json"


@pytest.fixture
def book(file: Path) -> Notebook:
    return Notebook(file, clock=lambda: NOON)


def test_what_is_written_is_read_by_another(book: Notebook, file: Path) -> None:
    text = 'quotes " and \\ and \u2028 and \x00 and 🗒'
    note = book.add("Title", text, ["a", "b"])
    assert note == Note(id=1, title="Title", text=text, tags=["a", "b"], created="2026-03-30T12:00:00+00:00")
    assert Notebook(file).all() == [note]
    assert Notebook(file).get(1) == note


def test_the_file_is_its_owners_alone(book: Notebook, file: Path) -> None:
    book.add("a", "", [])
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert {path.name: stat.S_IMODE(path.stat().st_mode) for path in file.parent.iterdir()} == {"notes.json": 0o600}


def test_a_number_is_never_given_twice(book: Notebook) -> None:
    assert [book.add("a", "", []).id, book.add("b", "", []).id] == [1, 2]
    assert book.delete(2).title == "b"
    assert book.add("c", "", []).id == 3
    with pytest.raises(NoSuchNote):
        book.get(2)


def test_an_empty_file_is_an_empty_notebook(book: Notebook, file: Path) -> None:
    file.parent.mkdir()
    file.touch()
    assert book.all() == []
    assert book.add("a", "", []).id == 1


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "{}",
        "[]",
        "null",
        '{"format": 2, "next_id": 1, "notes": []}',
        '{"format": 1, "notes": []}',
        '{"format": 1, "next_id": 1, "notes": [{"id": 1}]}',
    ],
)
def test_a_file_that_is_no_notebook_is_left_alone(book: Notebook, file: Path, content: str) -> None:
    file.parent.mkdir()
    file.write_text(content)
    with pytest.raises(NotebookError, match="is not a notebook of this version"):
        book.all()
    with pytest.raises(NotebookError, match="is not a notebook of this version"):
        book.add("a", "", [])
    assert file.read_text() == content


def test_the_number_of_notes_is_bounded(book: Notebook, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notebook, "MAX_NOTES", 2)
    book.add("a", "", [])
    book.add("b", "", [])
    with pytest.raises(NotebookError, match="is full: it holds 2 notes"):
        book.add("c", "", [])
    book.delete(1)
    book.add("c", "", [])


def test_the_size_of_the_file_is_bounded(book: Notebook, file: Path) -> None:
    for _ in range(3):
        book.add("a", "x" * 2**20, [])
    before = file.read_bytes()
    with pytest.raises(NotebookError, match="is full: it holds 4 MiB"):
        book.add("a", "x" * 2**20, [])
    assert file.read_bytes() == before
    assert sorted(path.name for path in file.parent.iterdir()) == ["notes.json"]


def test_a_place_that_cannot_be_written_says_why(tmp_path: Path) -> None:
    (tmp_path / "taken").touch()
    book = Notebook(tmp_path / "taken" / "notes.json")
    with pytest.raises(NotebookError, match="Cannot"):
        book.add("a", "", [])
    with pytest.raises(NotebookError, match="Cannot read"):
        Notebook(tmp_path).all()


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    link, target = tmp_path / "notes.json", tmp_path / "dotfiles" / "notes.json"
    target.parent.mkdir()
    link.symlink_to(target)
    Notebook(link).add("a", "", [])
    assert link.is_symlink()
    assert Notebook(target).get(1).title == "a"


@pytest.mark.parametrize(
    ("environ", "path"),
    [
        ({}, "/home/ada/.local/state/mcp-gateway/notes.json"),
        ({"XDG_STATE_HOME": "/state"}, "/state/mcp-gateway/notes.json"),
        ({"XDG_STATE_HOME": "relative, so invalid"}, "/home/ada/.local/state/mcp-gateway/notes.json"),
        ({"NOTES_FILE": "/n.json", "XDG_STATE_HOME": "/state"}, "/n.json"),
        ({"NOTES_FILE": "~/n.json"}, "/home/ada/n.json"),
        ({"NOTES_FILE": ""}, "/home/ada/.local/state/mcp-gateway/notes.json"),
    ],
)
def test_where_the_file_is(environ: dict[str, str], path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ada")
    assert default_path(environ) == Path(path)
