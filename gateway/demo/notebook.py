"""The notes on disk: one JSON file, private to its owner, that several processes may share without losing a note.

Knows nothing of MCP. A write happens under a lock file, to a temporary file that then takes the place of the old one;
a reader therefore needs no lock and always sees a whole notebook.
"""

import contextlib
import datetime as dt
import os
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from pydantic import TypeAdapter, ValidationError

MAX_NOTES: Final = 1000
MAX_BYTES: Final = 4 * 1024 * 1024
"""Of the file."""
LOCK_SECONDS: Final = 5.0
"""How long a write waits for another process to finish its own."""
RETRY_SECONDS: Final = 0.01


class NotebookError(Exception):
    """Base of what can go wrong; the message says what to do."""


class NoSuchNote(NotebookError):
    def __init__(self, id: int) -> None:
        super().__init__(f"There is no note {id}.")


@dataclass(frozen=True, slots=True)
class Note:
    id: int
    """Never given to another note."""
    title: str
    text: str
    tags: list[str]
    """Lower case, in the order given."""
    created: str
    """ISO 8601, UTC, to the second."""

    @property
    def searchable(self) -> str:
        return "\n".join([self.title, self.text, *self.tags]).casefold()


@dataclass(frozen=True, slots=True)
class Page:
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
    """Every method does blocking I/O; run them in a thread."""

    def __init__(
        self, path: Path, clock: Callable[[], dt.datetime] = utc_now, lock_seconds: float = LOCK_SECONDS
    ) -> None:
        self._path = path.resolve()  # the file may be a link into somebody's dotfiles
        self._clock = clock
        self._lock_seconds = lock_seconds
        self._json = TypeAdapter(Page)

    def all(self) -> list[Note]:
        """Newest first."""
        return self._read().notes[::-1]

    def get(self, id: int) -> Note:
        """Raises NoSuchNote."""
        return _find(self._read().notes, id)

    def search(self, query: str) -> list[Note]:
        """Notes whose title, text and tags contain every word of `query`; newest first."""
        words = query.casefold().split()
        return [note for note in self.all() if all(word in note.searchable for word in words)]

    def add(self, title: str, text: str, tags: list[str]) -> Note:
        """Raises NotebookError when the notebook is full."""
        created = self._clock().astimezone(dt.UTC).isoformat(timespec="seconds")
        with self._locked():
            page = self._read()
            if len(page.notes) >= MAX_NOTES:
                raise NotebookError(f"The notebook is full: it holds {MAX_NOTES} notes. Delete some first.")
            note = Note(page.next_id, title, text, tags, created)
            self._write(Page(1, page.next_id + 1, [*page.notes, note]))
            return note

    def delete(self, id: int) -> Note:
        """Returns what is gone. Raises NoSuchNote."""
        with self._locked():
            page = self._read()
            note = _find(page.notes, id)
            self._write(Page(1, page.next_id, [kept for kept in page.notes if kept is not note]))
            return note

    def _read(self) -> Page:
        try:
            with self._path.open("rb") as file:
                data = file.read(MAX_BYTES + 1)
        except FileNotFoundError:
            data = b""
        except OSError as error:
            raise NotebookError(f"Cannot read {self._path}: {error.strerror}.") from error
        try:
            return self._json.validate_json(data) if data else Page(1, 1, [])
        except ValidationError as error:
            raise NotebookError(
                f"{self._path} is not a notebook of this version. Move it away, or set NOTES_FILE to another file."
            ) from error

    def _write(self, page: Page) -> None:
        data = self._json.dump_json(page, indent=1)
        if len(data) > MAX_BYTES:
            raise NotebookError(f"The notebook is full: it holds {MAX_BYTES // 2**20} MiB. Delete some notes first.")
        try:
            _replace(self._path, data)
        except OSError as error:
            raise NotebookError(f"Cannot write {self._path}: {error.strerror}.") from error

    @contextlib.contextmanager
    def _locked(self) -> Generator[None]:
        """Exclusive among processes and threads. Raises NotebookError when another one keeps the lock."""
        lock = self._path.with_name(f"{self._path.name}.lock")
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise NotebookError(f"Cannot write to {self._path.parent}: {error.strerror}.") from error
        try:
            deadline = time.monotonic() + self._lock_seconds
            while not _try_lock(descriptor):
                if time.monotonic() > deadline:
                    raise NotebookError(f"Another process keeps {lock} locked. Try again later.")
                time.sleep(RETRY_SECONDS)
            yield
        finally:
            os.close(descriptor)  # which unlocks


if sys.platform == "win32":
    import msvcrt

    def _try_lock(descriptor: int) -> bool:
        with contextlib.suppress(OSError):
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
            return True
        return False
else:
    import fcntl

    def _try_lock(descriptor: int) -> bool:
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        return False


def _find(notes: list[Note], id: int) -> Note:
    for note in notes:
        if note.id == id:
            return note
    raise NoSuchNote(id)


def _replace(path: Path, data: bytes) -> None:
    """Write `path` whole or not at all, readable by its owner alone."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mode 0600
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
