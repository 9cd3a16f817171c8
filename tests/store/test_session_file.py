"""Records of sessions: they outlive a restart, are seen by whoever shares the file, and are bounded."""

import os
import sqlite3
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway.store import session_file
from gateway.store.session_file import SessionFile
from gateway.store.sessions import SessionName

pytestmark = pytest.mark.anyio


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def named(
    key: str, principal: str = "key:alice", root: str = "", issued: float = 900, expires: float = 5000
) -> SessionName:
    return SessionName(key, principal, root or principal, issued, expires)


@asynccontextmanager
async def opened(folder: Path, clock: Clock | None = None) -> AsyncGenerator[SessionFile]:
    records = SessionFile(folder / "sessions.db", clock or Clock())
    yield records
    await records.aclose()


async def test_what_is_noted_outlives_a_restart_and_is_gone_with_its_session(tmp_path: Path) -> None:
    one, other = named("1"), named("2")
    async with opened(tmp_path) as records:
        await records.note(one, {"level": "info", "resource a://ü": "", "gone": "x"})
        await records.note(one, {"gone": None, "level": "debug"})
        await records.note(other, {"level": "error"})
    async with opened(tmp_path) as records:
        assert await records.read(one) == {"resource a://ü": "", "level": "debug"}
        await records.end(one)
        assert await records.read(one) is None
        assert await records.read(other) == {"level": "error"}
    assert os.stat(tmp_path / "sessions.db").st_mode & 0o077 == 0


async def test_what_ended_stays_ended_until_its_id_expires(tmp_path: Path) -> None:
    clock = Clock()
    one = named("1")
    async with opened(tmp_path, clock) as records:
        await records.end(one)
    async with opened(tmp_path, clock) as records:
        assert await records.read(one) is None
        clock.now = 6000
        await records.end(named("2", expires=9000))
    with sqlite3.connect(tmp_path / "sessions.db") as db:
        assert db.execute("SELECT key FROM ended").fetchall() == [("2",)]


async def test_all_that_principals_opened_until_now_ends(tmp_path: Path) -> None:
    async with opened(tmp_path) as records:
        await records.end_those_of(["key:alice", "key:carol"], 100)
        await records.end_those_of(["key:alice"], 10)
    async with opened(tmp_path) as records:
        for ended in (named("1"), named("2", "agent:1", "key:alice"), named("3", issued=1000)):
            assert await records.read(ended) is None
        for alive in (named("1", "key:bob"), named("2", issued=1000.001)):
            assert await records.read(alive) == {}


async def test_what_one_gateway_ends_another_hears_of(tmp_path: Path) -> None:
    async with opened(tmp_path) as here, opened(tmp_path) as there:
        await here.end(named("before"))
        assert await there.follow() == ()
        await here.end(named("1"))
        await here.note(named("3"), {"x": "y"})
        assert await there.follow() == ["1"]
        assert await there.follow() == ()
        await here.end(named("2"))
        assert await there.follow() == ["2"]
        assert await there.read(named("3")) == {"x": "y"}
        await there.end(named("4"))
        assert await there.follow() == ()


async def test_what_is_noted_of_one_principal_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_file, "MAX_BYTES_EACH", 1000)
    async with opened(tmp_path) as records:
        await records.note(named("theirs", "key:bob"), {"x": "y"})
        for number in range(20):
            await records.note(named(f"{number}"), {"x": "y" * 100})
        kept = [number for number in range(20) if await records.read(named(f"{number}"))]
        assert kept == list(range(20 - len(kept), 20))
        assert 1 <= len(kept) <= 1000 // 100
        await records.note(named("large"), {"x": "y" * 2000})
        assert await records.read(named("large")) == {}
        assert await records.read(named("theirs", "key:bob")) == {"x": "y"}


async def test_of_too_many_ended_ones_the_older_half_is_one_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_file, "MAX_ENDED_EACH", 10)
    async with opened(tmp_path) as records:
        for number in range(11):
            await records.end(named(f"{number}", issued=100 + number))
        assert [await records.read(named(f"{number}", issued=100 + number)) for number in range(11)] == [None] * 11
        assert await records.read(named("never ended", issued=101)) is None
        assert await records.read(named("never ended", issued=110.5)) == {}
        assert await records.read(named("never ended", "key:bob", issued=101)) == {}
    with sqlite3.connect(tmp_path / "sessions.db") as db:
        assert db.execute("SELECT count(*) FROM ended").fetchone()[0] <= 10


@pytest.mark.parametrize("content", [b"not a database", b"x" * 10_000])
async def test_where_the_file_cannot_be_used_sessions_from_before_have_ended(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "sessions.db").write_bytes(content)
    clock = Clock()
    async with opened(tmp_path, clock) as records:
        assert await records.read(named("1")) is None
        assert await records.read(named("2", issued=1001)) == {}
        await records.end(named("2", issued=1001))
        assert await records.read(named("2", issued=1001)) is None
    assert (tmp_path / "sessions.db").read_bytes() == content


async def test_where_it_cannot_be_written_what_ends_has_ended_here(tmp_path: Path) -> None:
    one = named("1")
    async with opened(tmp_path) as records:
        assert await records.read(one) == {}
        with sqlite3.connect(tmp_path / "sessions.db") as db:
            db.execute("ALTER TABLE ended RENAME TO elsewhere")
        await records.end(one)
        assert await records.read(one) is None
        with sqlite3.connect(tmp_path / "sessions.db") as db:
            db.execute("ALTER TABLE elsewhere RENAME TO ended")
        await records.end(named("2"))
    async with opened(tmp_path) as records:
        assert await records.read(one) is None, "it was written with the next"
