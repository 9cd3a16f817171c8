"""Where agents are remembered: in memory, and in a file that survives what happens to it, and may be shared."""

import json
import os
import stat
import threading
from dataclasses import replace
from pathlib import Path

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from gateway.errors import NotSaved
from gateway.store import files, journal
from gateway.store.agent_file import FileAgentStore
from gateway.store.agents import AgentSession, AgentStore, MemoryAgentStore
from gateway.store.memory import MemoryStore
from gateway.store.shared_agents import SharedAgentStore

pytestmark = pytest.mark.anyio

ONE = AgentSession(
    "1", "agent", "1.0", "alice", ("key:alice",), frozenset({"read"}), frozenset({"a"}), None, created=0, expires=100
)
TWO = replace(ONE, id="2", ancestors=("key:alice", "agent:1"), upstreams=None, rate_limit_rpm=-1)
OTHER = replace(ONE, id="3", ancestors=("key:bob",), upstreams=frozenset[str](), scopes=frozenset[str]())


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "agents.json"


@pytest.fixture(params=["memory", "file", "shared"])
def store(request: pytest.FixtureRequest, path: Path, clock: Clock) -> AgentStore:
    if request.param == "shared":
        return SharedAgentStore(MemoryStore(), clock)
    return MemoryAgentStore(clock) if request.param == "memory" else FileAgentStore(path, clock)


async def test_what_is_added_is_there_until_it_is_removed(store: AgentStore) -> None:
    for session in (ONE, TWO, OTHER):
        assert await store.add(session, 10)
    assert await store.sessions() == [ONE, TWO, OTHER]
    assert await store.get("2") == TWO
    await store.remove(["2", "unknown"])
    assert await store.get("2") is None
    assert await store.sessions() == [ONE, OTHER]


async def test_the_cap_counts_by_root(store: AgentStore) -> None:
    assert await store.add(ONE, 2)
    assert await store.add(TWO, 2)
    assert not await store.add(replace(ONE, id="4"), 2)
    assert await store.get("4") is None
    assert await store.add(OTHER, 2)


async def test_expired_is_as_if_it_were_not_there(store: AgentStore, clock: Clock) -> None:
    await store.add(ONE, 1)
    clock.now = 99.9
    assert await store.get("1") == ONE
    clock.now = 100
    assert await store.get("1") is None
    assert await store.sessions() == []
    assert await store.add(replace(TWO, expires=200), 1)


async def test_a_file_brings_everything_back_as_it_was(path: Path, clock: Clock) -> None:
    store = FileAgentStore(path, clock)
    for session in (ONE, TWO, OTHER):
        await store.add(session, 10)
    await store.remove(["1"])
    assert await FileAgentStore(path, clock).sessions() == [TWO, OTHER]
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert sorted(os.listdir(path.parent)) == [path.name, "agents.revoked"]


async def test_changes_at_once_are_all_written(path: Path, clock: Clock) -> None:
    store = FileAgentStore(path, clock)
    sessions = [replace(ONE, id=str(number)) for number in range(30)]
    async with anyio.create_task_group() as tg:
        for session in sessions:
            tg.start_soon(store.add, session, 100)
    async with anyio.create_task_group() as tg:
        for session in sessions[::2]:
            tg.start_soon(store.remove, [session.id])
    assert await FileAgentStore(path, clock).sessions() == sessions[1::2]


async def test_each_change_is_on_disk_when_the_call_returns(path: Path, clock: Clock) -> None:
    store = FileAgentStore(path, clock)

    async def add(session: AgentSession) -> None:
        await store.add(session, 100)
        assert await FileAgentStore(path, clock).get(session.id) == session

    async with anyio.create_task_group() as tg:
        for number in range(10):
            tg.start_soon(add, replace(ONE, id=str(number)))


async def test_who_hangs_up_while_revoking_has_revoked(path: Path, clock: Clock) -> None:
    store = FileAgentStore(path, clock)
    await store.add(ONE, 10)
    with anyio.CancelScope() as scope:
        scope.cancel()
        await store.remove(["1"])
    assert await FileAgentStore(path, clock).get("1") is None


def fail(path: Path, data: object) -> None:
    raise OSError(28, "No space left on device")


def entries(path: Path) -> int:
    return path.read_bytes().count(b'"id"')


def fill(patch: pytest.MonkeyPatch, *, at_all: bool = False) -> None:
    """The disk is full; `at_all`: nothing can be written in place either."""
    patch.setattr(files, "replace", fail)
    patch.setattr(files, "create", fail)
    if at_all:
        patch.setattr(journal, "note", fail)


async def test_what_cannot_be_written_was_not_added(path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    store = FileAgentStore(path, clock)
    await store.add(ONE, 10)
    monkeypatch.setattr(files, "replace", fail)
    with capture_logs() as logs, pytest.raises(NotSaved):
        await store.add(OTHER, 10)
    assert await store.sessions() == [ONE]
    assert logs[0]["reason"] == "No space left on device"


async def test_a_removal_that_cannot_be_written_counts_here_and_is_written_later(
    path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = FileAgentStore(path, clock)
    await store.add(ONE, 10)
    with monkeypatch.context() as patch:
        fill(patch, at_all=True)
        with pytest.raises(NotSaved):
            await store.remove(["1"])
    assert await store.get("1") is None
    await store.add(OTHER, 10)
    assert await FileAgentStore(path, clock).sessions() == [OTHER]


async def test_a_removal_that_cannot_be_written_is_kept_until_it_can_be(
    path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = FileAgentStore(path, clock)
    await store.add(ONE, 10)
    with monkeypatch.context() as patch, capture_logs() as logs:
        fill(patch, at_all=True)
        for _ in range(2):
            with pytest.raises(NotSaved, match="No space left on device"):
                await store.remove(["1"])
            assert await store.unsaved("1") == ONE
            assert await store.follow() == []
    assert [entry["revoked"] for entry in logs] == [["1"]], "said once, and whose it is"
    await store.follow()
    assert await store.unsaved("1") is None
    assert await FileAgentStore(path, clock).get("1") is None


async def test_on_a_disk_that_stays_full_a_removal_is_written_over_the_file_at_the_end(
    path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = FileAgentStore(path, clock)
    await store.add(ONE, 10)
    await store.add(OTHER, 10)
    fill(monkeypatch, at_all=True)
    with pytest.raises(NotSaved):
        await store.remove(["1"])
    await store.aclose()
    assert await FileAgentStore(path, clock).sessions() == [OTHER]


async def test_what_is_removed_on_a_full_disk_stays_dead_though_nothing_is_closed(
    path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after kill -9; and other gateways follow."""
    store, other = FileAgentStore(path, clock), FileAgentStore(path, clock)
    for session in (ONE, TWO, OTHER):
        await store.add(session, 10)
    await other.follow()
    with monkeypatch.context() as patch:
        fill(patch)
        with capture_logs() as logs:
            for _ in range(2):
                await store.remove(["1", "2"])
                await store.follow()
        assert [entry["revoked"] for entry in logs] == [["1", "2"]]
        assert sorted(await other.follow()) == ["1", "2"]
        for each in (other, again := FileAgentStore(path, clock)):
            assert await each.sessions() == [OTHER]
            with pytest.raises(NotSaved):
                await each.add(replace(ONE, id="4"), 10)
            await each.follow()
            assert await each.sessions() == [OTHER]
    assert entries(path) == 3, "still as it was"
    await again.follow()
    assert entries(path) == 1
    assert journal.read(path.with_suffix(".revoked")) == set()
    assert await FileAgentStore(path, clock).sessions() == [OTHER]


@pytest.mark.parametrize("data", [b"", b"x" * 100, b"\xff" * 64 * 600, b"00000000 \n" * 999, os.urandom(40_000)])
def test_a_journal_that_is_none_notes_what_it_can(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    assert journal.read(path) == set()
    journal.clear(path, {"a"})
    if len(data) < 64:
        with pytest.raises(OSError, match="No space"):
            journal.note(path, ["a"])
    else:
        journal.note(path, ["a"])
        assert journal.read(path) == {"a"}


async def test_a_pipe_in_place_of_the_journal_hangs_nobody(path: Path, clock: Clock) -> None:
    store = FileAgentStore(path, clock)
    await store.add(ONE, 10)
    noted = path.with_suffix(".revoked")
    os.unlink(noted)
    os.mkfifo(noted)
    with pytest.raises(OSError, match="file"), anyio.fail_after(5):
        await anyio.to_thread.run_sync(journal.note, noted, ["1"], abandon_on_cancel=True)
    with pytest.raises(NotSaved):
        await store.remove(["1"])
    assert await store.get("1") is None


def test_a_journal_holds_so_many_and_loses_none_to_a_torn_one(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "SLOTS", 3)
    with pytest.raises(FileNotFoundError):
        journal.note(path, ["a"])
    journal.make(path)
    size = path.stat().st_size
    journal.note(path, ["a", "b" * 32])
    journal.note(path, ["a", "c"])
    journal.make(path)
    assert journal.read(path) == {"a", "b" * 32, "c"}
    for no_room in ("d", "e" * 60):
        with pytest.raises(OSError, match="No space"):
            journal.note(path, [no_room])
    data = path.read_bytes()
    at = data.index(b"b" * 32)
    path.write_bytes(data[: at + 16] + b"\0" * 16 + data[at + 32 :])
    assert journal.read(path) == {"a", "c"}
    journal.note(path, ["d"])
    journal.clear(path, {"a", "unknown"})
    assert journal.read(path) == {"c", "d"}
    assert path.stat().st_size == size
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_a_file_that_cannot_be_written_for_long_holds_up_nobody(
    path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a network drive that has died."""
    store = FileAgentStore(path, clock, save_seconds=0.05, last_seconds=0.05)
    await store.add(ONE, 10)
    released = threading.Event()
    monkeypatch.setattr(files, "replace", lambda path, data: released.wait())  # pyright: ignore[reportUnknownLambdaType, reportUnknownArgumentType]
    try:
        with pytest.raises(NotSaved, match="longer than"):
            await store.add(OTHER, 10)
        with pytest.raises(NotSaved, match="longer than"):
            await store.remove(["1"])
        await store.aclose()
    finally:
        released.set()
    assert await store.sessions() == []


# --- Several gateways ---------------------------------------------------------------------------------------------


async def test_gateways_that_share_a_file_follow_each_other(path: Path, clock: Clock) -> None:
    one, two = FileAgentStore(path, clock), FileAgentStore(path, clock)
    await one.add(ONE, 10)
    assert list(await two.follow()) == []
    assert await two.get("1") == ONE
    await two.add(OTHER, 10)
    await one.remove(["1"])
    assert list(await two.follow()) == ["1"]
    assert list(await two.follow()) == []
    for store in (one, two, FileAgentStore(path, clock)):
        assert await store.sessions() == [OTHER]


async def test_what_another_gateway_removed_is_told_of_also_when_a_write_came_first(path: Path, clock: Clock) -> None:
    one, two = FileAgentStore(path, clock), FileAgentStore(path, clock)
    await one.add(ONE, 10)
    await two.follow()
    await one.remove(["1"])
    await two.add(OTHER, 10)
    assert await two.get("1") is None
    assert list(await two.follow()) == ["1"]


async def test_the_cap_counts_what_all_gateways_have(path: Path, clock: Clock) -> None:
    one, two = FileAgentStore(path, clock), FileAgentStore(path, clock)
    assert await one.add(ONE, 1)
    assert not await two.add(replace(ONE, id="4"), 1)
    assert await two.sessions() == [ONE]


async def test_a_file_that_cannot_be_read_for_a_while_ends_nobody(path: Path, clock: Clock) -> None:
    store = FileAgentStore(path, clock)
    await store.add(ONE, 10)
    os.unlink(path)
    os.mkfifo(path)
    with capture_logs() as logs:
        assert list(await store.follow()) == list(await store.follow()) == []
    assert [entry["log_level"] for entry in logs] == ["error"]
    assert await store.get("1") == ONE


Steps = list[tuple[str, int]]
"""What is done, and at which of two gateways."""
STEPS = st.lists(
    st.tuples(st.sampled_from(["add", "remove", "restart", "kill", "follow", "full", "fuller"]), st.integers(0, 1))
)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
async def test_what_was_removed_never_comes_back(tmp_path_factory: pytest.TempPathFactory, steps: Steps) -> None:
    """In whatever order two gateways write, follow, stop and start, and whenever the disk is full."""
    path, clock = tmp_path_factory.mktemp("state") / "agents.json", Clock()
    stores = [FileAgentStore(path, clock) for _ in range(2)]
    kept: dict[str, AgentSession] = {}
    for number, (step, which) in enumerate(steps):
        store = stores[which]
        if step == "add":
            kept[str(number)] = replace(ONE, id=str(number))
            assert await store.add(kept[str(number)], 100)
        elif step == "remove" and (known := await store.sessions()):
            kept.pop(known[0].id, None)
            await store.remove([known[0].id])
        elif step == "full" and (known := await store.sessions()):
            kept.pop(known[0].id, None)
            with pytest.MonkeyPatch.context() as patch:
                fill(patch)
                await store.remove([known[0].id])
        elif step == "fuller" and (known := await store.sessions()):
            kept.pop(known[0].id, None)
            with pytest.MonkeyPatch.context() as patch:
                fill(patch, at_all=True)
                with pytest.raises(NotSaved):
                    await store.remove([known[0].id])
            await store.follow()  # or nobody but this one would know
        elif step in ("restart", "kill"):
            if step == "restart":
                await store.aclose()
            stores[which] = FileAgentStore(path, clock)
        else:
            await store.follow()
    for store in stores:
        await store.follow()
    for store in (*stores, FileAgentStore(path, clock)):
        await store.follow()
        assert {session.id for session in await store.sessions()} == kept.keys()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"format": "mcp-gateway agents", "version": 2, "sessions": []}',
        '{"format": "mcp-gateway agents", "version": 1, "sessions": [{}]}',
        '{"format": "mcp-gateway agents", "version": 1, "sessions": [{"id": "1"}]}',
        '{"format": "mcp-gateway agents", "version": 1, "sessions": 3}',
        json.dumps({"format": "mcp-gateway agents", "version": 1, "sessions": [[]]}),
    ],
)
async def test_a_file_that_cannot_be_used_is_reported_and_empty(path: Path, clock: Clock, text: str) -> None:
    files.replace(path, text.encode())
    with capture_logs() as logs:
        store = FileAgentStore(path, clock)
    assert [(entry["log_level"], entry["path"]) for entry in logs] == [("warning", str(path))]
    assert await store.sessions() == []
    await store.add(ONE, 10)
    assert await FileAgentStore(path, clock).sessions() == [ONE]
