"""The notes on disk: one JSON file, private to its owner, that several processes may share without losing a note.

Knows nothing of MCP. All of it blocks; `gateway.store.files` locks the file and replaces it in one step.
"""

import datetime as dt
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from gateway import blocking
from gateway.store import files

MAX_NOTES: Final = 1000
MAX_BYTES: Final = 4 * 1024 * 1024
"""Of the file."""


class NotebookError(Exception):
    """Base of what can go wrong; the message says what to do."""


class NoSuchNote(NotebookError):
    def __init__(self, id: int) -> None:
        super().__init__(f"There is no note {id}.")


class Heading(BaseModel):
    """A note without its text."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    id: int
    """Never given to another note."""
    title: str
    tags: list[str]
    """Lower case, in the order given."""
    created: str
    """ISO 8601, UTC, to the second."""


class Note(Heading):
    text: str
    """Markdown."""

    @property
    def heading(self) -> Heading:
        return Heading(id=self.id, title=self.title, tags=self.tags, created=self.created)

    @property
    def markdown(self) -> str:
        return f"# {self.title}\n\n{self.text}\n"


class _Page(BaseModel):
    """The file's content. Notes stand in the order they were added."""

    format: Literal[1]
    """Of the file; another number is another version's."""
    next_id: int
    notes: list[Note]


def default_path(environ: Mapping[str, str]) -> Path:
    """$NOTES_FILE, or mcp-gateway/notes.json in the user's state folder (XDG base directory specification)."""
    if chosen := environ.get("NOTES_FILE"):
        return Path(chosen).expanduser()
    state = Path(environ.get("XDG_STATE_HOME", ""))
    return (state if state.is_absolute() else Path.home() / ".local" / "state") / "mcp-gateway" / "notes.json"


def utc_now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


class Notebook:
    def __init__(self, path: Path, clock: Callable[[], dt.datetime] = utc_now) -> None:
        self._path = path.resolve()  # the file may be a link into somebody's dotfiles
        self._clock = clock

    def all(self) -> list[Note]:
        """Newest first."""
        try:
            data = blocking.read(self._path, MAX_BYTES + 1)
        except FileNotFoundError:
            data = None
        except OSError as error:
            raise NotebookError(f"Cannot read {self._path}: {error.strerror}.") from error
        return self._parsed(data).notes[::-1]

    def get(self, id: int) -> Note:
        """Raises NoSuchNote."""
        return _find(self.all(), id)

    def search(self, query: str) -> list[Note]:
        """Notes whose title, text and tags contain every word of `query`; newest first."""
        words = query.casefold().split()
        return [note for note in self.all() if all(word in _searchable(note) for word in words)]

    def add(self, title: str, text: str, tags: list[str]) -> Note:
        """Raises NotebookError when the notebook is full."""

        def change(page: _Page) -> Note:
            if len(page.notes) >= MAX_NOTES:
                raise NotebookError(f"The notebook is full: it holds {MAX_NOTES} notes. Delete some first.")
            created = self._clock().astimezone(dt.UTC).isoformat(timespec="seconds")
            note = Note(id=page.next_id, title=title, text=text, tags=tags, created=created)
            page.notes.append(note)
            page.next_id += 1
            return note

        return self._changed(change)

    def delete(self, id: int) -> Note:
        """Returns what is gone. Raises NoSuchNote."""

        def change(page: _Page) -> Note:
            note = _find(page.notes, id)
            page.notes.remove(note)
            return note

        return self._changed(change)

    def _changed(self, change: Callable[[_Page], Note]) -> Note:
        """The note that is added or taken away, once that is written."""
        notes: list[Note] = []

        def written(before: bytes | None) -> bytes:
            page = self._parsed(before)
            notes.append(change(page))
            data = page.model_dump_json(indent=1).encode()
            if len(data) > MAX_BYTES:
                raise NotebookError(f"The notebook is full: it holds {MAX_BYTES >> 20} MiB. Delete some notes first.")
            return data

        try:
            files.update(self._path, written)
        except OSError as error:
            raise NotebookError(f"Cannot write {self._path}: {error.strerror}.") from error
        return notes[0]

    def _parsed(self, data: bytes | None) -> _Page:
        try:
            return _Page.model_validate_json(data) if data else _Page(format=1, next_id=1, notes=[])
        except ValidationError as error:
            raise NotebookError(
                f"{self._path} is not a notebook of this version. Move it away, or set NOTES_FILE to another file."
            ) from error


def _find(notes: list[Note], id: int) -> Note:
    for note in notes:
        if note.id == id:
            return note
    raise NoSuchNote(id)


def _searchable(note: Note) -> str:
    return "\n".join([note.title, note.text, *note.tags]).casefold()
