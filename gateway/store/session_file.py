"""Records of sessions in an SQLite database, which any number of gateways may share.

It is SQLite's locking that keeps several of them apart, and its journal that leaves the file whole in a crash. All that
touches the file happens in threads, for it may hang.
"""

import sqlite3
import threading
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, Final, TypeVar

import structlog

from gateway.blocking import LAST_SECONDS, within
from gateway.store import files
from gateway.store.sessions import SessionName

log = structlog.stdlib.get_logger("gateway.store")

T = TypeVar("T")

NAME: Final = "sessions.db"
"""In `state_dir`."""
SECONDS: Final = 3.0
"""How long one request waits for the file."""
MAX_ENDED_EACH: Final = 10_000
"""Sessions of one root principal that are remembered as ended. For one more, all it opened until the oldest of them
count as ended, and those that still are in use live on."""
MAX_BYTES_EACH: Final = 1 << 20
"""What is noted of one root principal's sessions. The oldest goes first."""
MAX_BYTES: Final = 256 << 20
"""Of the whole database. Beyond it the older half of everything goes, as for one who has too much."""
_PER_FACT: Final = 64
"""Bytes that a fact counts for besides its own."""
EVERYBODY: Final = ""
_VERSION: Final = 1
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS ended (
    number INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT UNIQUE NOT NULL, root TEXT NOT NULL, issued REAL NOT NULL,
    expires REAL NOT NULL
);
CREATE INDEX IF NOT EXISTS ended_by_root ON ended (root, issued);
CREATE INDEX IF NOT EXISTS ended_by_expiry ON ended (expires);
CREATE TABLE IF NOT EXISTS floors (principal TEXT PRIMARY KEY, until REAL NOT NULL, expires REAL NOT NULL);
CREATE TABLE IF NOT EXISTS facts (
    number INTEGER PRIMARY KEY, key TEXT NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL, root TEXT NOT NULL,
    size INTEGER NOT NULL, expires REAL NOT NULL, UNIQUE (key, name)
);
CREATE INDEX IF NOT EXISTS facts_by_root ON facts (root, number, size);
CREATE INDEX IF NOT EXISTS facts_by_expiry ON facts (expires);
"""


class SessionFile:
    """See `SessionRecords`.

    Where the file cannot be used, what is noted ends with this process, and sessions from before it count as ended: it
    is not known which of them have.

    Args:
        clock: seconds since 1970.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        self._path = path
        self._clock = clock
        self._lock = threading.Lock()
        self._made: sqlite3.Connection | None = None
        self._unsaved: dict[str, SessionName] = {}
        """Sessions that have ended although that could not be written."""
        self._seen = 0, 0
        """The file's version, and the last of `ended`, when others' changes were looked for."""
        self._trouble = ""

    async def read(self, session: SessionName) -> Mapping[str, str] | None:
        if session.key in self._unsaved:
            return None
        return await self._do("sessions not taken up again", None, _read, session)

    async def note(self, session: SessionName, changes: Mapping[str, str | None]) -> None:
        await self._do("changes of a session would not outlive a restart", None, _note, session, changes, self._clock())

    async def end(self, session: SessionName) -> None:
        self._unsaved[session.key] = session
        now = self._clock()
        for each in [each for each in self._unsaved.values() if each.expires <= now][:-MAX_ENDED_EACH]:
            del self._unsaved[each.key]
        ending = list(self._unsaved.values())
        if await self._do("ended sessions would be back after a restart", False, _end, ending, now):
            for each in ending:
                self._unsaved.pop(each.key, None)

    async def end_those_of(self, principals: Collection[str], lifetime: float) -> None:
        now = self._clock()
        floors = [(principal, now, now + lifetime) for principal in principals]
        await self._do("ended sessions would be back after a restart", False, _raise_floors, floors)

    async def follow(self) -> Collection[str]:
        return await self._do("sessions that ended elsewhere are not heard of", (), self._look)

    async def aclose(self) -> None:
        with suppress(OSError):
            await within(LAST_SECONDS, self._close)

    def _look(self, db: sqlite3.Connection) -> Collection[str]:
        version, last = self._seen
        now = _data_version(db)
        if now == version:
            return ()
        rows = db.execute("SELECT number, key FROM ended WHERE number > ? ORDER BY number", (last,)).fetchall()
        self._seen = now, rows[-1][0] if rows else last
        return [key for _, key in rows]

    async def _do(self, otherwise: str, failed: T, work: Callable[..., T], *args: Any) -> T:
        """Work with the database.

        Args:
            otherwise: what it means that it cannot be done.
            failed: returned then.
        """
        try:
            result = await within(SECONDS, self._locked, work, *args)
        except (OSError, sqlite3.Error, UnicodeEncodeError) as error:
            trouble = f"{otherwise}: {error}"
            if trouble != self._trouble:
                log.error(otherwise, path=str(self._path), reason=str(error))
            self._trouble = trouble
            return failed
        self._trouble = ""
        return result

    # --- In a thread --------------------------------------------------------------------------------------------------

    def _locked(self, work: Callable[..., T], *args: Any) -> T:
        if not self._lock.acquire(timeout=SECONDS):
            raise TimeoutError("it hangs")
        try:
            db = self._made = self._made or self._open()
            with db:  # one transaction
                return work(db, *args)
        finally:
            self._lock.release()

    def _close(self) -> None:
        with self._lock:
            if self._made is not None:
                self._made.close()

    def _open(self) -> sqlite3.Connection:
        try:
            if not self._path.exists():
                files.create(self._path, b"")  # readable by its owner only, and so are the files beside it
            db = _connect(str(self._path))
            _prepare(db, self._clock())
        except (OSError, sqlite3.Error) as error:
            log.warning("sessions from before this start have ended", path=str(self._path), reason=str(error))
            db = _connect(":memory:")
            now = self._clock()
            _prepare(db, now)
            _raise_floors(db, [(EVERYBODY, now, float("inf"))])
        (last,) = db.execute("SELECT coalesce(max(number), 0) FROM ended").fetchone()
        self._seen = _data_version(db), last
        return db


def _connect(name: str) -> sqlite3.Connection:
    return sqlite3.connect(name, timeout=SECONDS, check_same_thread=False)


def _data_version(db: sqlite3.Connection) -> int:
    """Another whenever somebody else has changed something."""
    return db.execute("PRAGMA data_version").fetchone()[0]


def _prepare(db: sqlite3.Connection, now: float) -> None:
    try:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        (version,) = db.execute("PRAGMA user_version").fetchone()
        if version not in (0, _VERSION):
            raise sqlite3.DatabaseError("it is of another version")
        db.executescript(_SCHEMA)
        db.execute(f"PRAGMA user_version = {_VERSION}")
        with db:
            _drop_expired(db, now)
    except BaseException:
        db.close()
        raise


def _drop_expired(db: sqlite3.Connection, now: float) -> None:
    for drop in (
        "DELETE FROM ended WHERE expires <= ?",
        "DELETE FROM floors WHERE expires <= ?",
        "DELETE FROM facts WHERE expires <= ?",
    ):
        db.execute(drop, (now,))


def _read(db: sqlite3.Connection, session: SessionName) -> Mapping[str, str] | None:
    if db.execute("SELECT 1 FROM ended WHERE key = ?", (session.key,)).fetchone():
        return None
    owners = session.principal, session.root, EVERYBODY
    (until,) = db.execute("SELECT max(until) FROM floors WHERE principal IN (?, ?, ?)", owners).fetchone()
    if until is not None and session.issued <= until:
        return None
    return dict(db.execute("SELECT name, value FROM facts WHERE key = ? ORDER BY number", (session.key,)).fetchall())


def _note(db: sqlite3.Connection, session: SessionName, changes: Mapping[str, str | None], now: float) -> None:
    for name, value in changes.items():
        if value is None:
            db.execute("DELETE FROM facts WHERE key = ? AND name = ?", (session.key, name))
        else:
            size = len(name.encode("utf-8", "surrogatepass")) + len(value.encode("utf-8", "surrogatepass")) + _PER_FACT
            fact = session.key, name, value, session.root, size, session.expires
            db.execute(
                "INSERT OR REPLACE INTO facts (key, name, value, root, size, expires) VALUES (?, ?, ?, ?, ?, ?)", fact
            )
    _drop_expired(db, now)
    _forget_oldest_facts(db, session.root)
    _shrink(db)


def _forget_oldest_facts(db: sqlite3.Connection, root: str) -> None:
    (size,) = db.execute("SELECT coalesce(sum(size), 0) FROM facts WHERE root = ?", (root,)).fetchone()
    if size <= MAX_BYTES_EACH:
        return
    with closing(db.execute("SELECT number, size FROM facts WHERE root = ? ORDER BY number", (root,))) as oldest:
        for number, freed in oldest:
            size -= freed
            if size <= MAX_BYTES_EACH:
                db.execute("DELETE FROM facts WHERE root = ? AND number <= ?", (root, number))
                return


def _shrink(db: sqlite3.Connection) -> None:
    """Forget the older half of all, if it is too much."""
    pages, free, size = (
        db.execute(f"PRAGMA {of}").fetchone()[0] for of in ("page_count", "freelist_count", "page_size")
    )
    if (pages - free) * size <= MAX_BYTES:
        return
    db.execute("DELETE FROM facts WHERE number <= (SELECT (min(number) + max(number)) / 2 FROM facts)")
    _forget_older(db, EVERYBODY, db.execute("SELECT count(*) FROM ended").fetchone()[0])


def _end(db: sqlite3.Connection, sessions: Collection[SessionName], now: float) -> bool:
    for each in sessions:
        db.execute("DELETE FROM facts WHERE key = ?", (each.key,))
        row = each.key, each.root, each.issued, each.expires
        db.execute("INSERT OR IGNORE INTO ended (key, root, issued, expires) VALUES (?, ?, ?, ?)", row)
    _drop_expired(db, now)
    for root in {each.root for each in sessions}:
        (count,) = db.execute("SELECT count(*) FROM ended WHERE root = ?", (root,)).fetchone()
        if count > MAX_ENDED_EACH:
            _forget_older(db, root, count)
    _shrink(db)
    return True


def _forget_older(db: sqlite3.Connection, root: str, count: int) -> None:
    """Remember one moment instead of the older half of the ended, of one root principal or of everybody: what they
    opened until then counts as ended."""
    which = {"root": root, "half": count // 2}
    moment = db.execute(
        "SELECT max(issued), max(expires) FROM (SELECT issued, expires FROM ended "
        "WHERE :root = '' OR root = :root ORDER BY issued LIMIT :half)",
        which,
    ).fetchone()
    if moment[0] is not None:
        db.execute(
            "DELETE FROM ended WHERE number IN (SELECT number FROM ended "
            "WHERE :root = '' OR root = :root ORDER BY issued LIMIT :half)",
            which,
        )
        _raise_floors(db, [(root, *moment)])


def _raise_floors(db: sqlite3.Connection, floors: Collection[tuple[str, float, float]]) -> bool:
    """What these principals opened until then has ended: `(principal, until, expires)`."""
    db.executemany(
        "INSERT INTO floors (principal, until, expires) VALUES (?, ?, ?) ON CONFLICT (principal) DO UPDATE SET "
        "until = max(until, excluded.until), expires = max(expires, excluded.expires)",
        floors,
    )
    return True
