"""The guardian: nothing that a server started outlives the server, and no server the gateway, however they end."""

import os
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

import anyio
import pytest

from gateway.upstream.guardian import Guardian
from gateway.upstream.timing import UpstreamTiming
from gateway.upstream.transport.process import Child, spawn
from tests.support import alive, command, run_process, wait_until
from tests.upstream.ends import DEADLINE
from tests.upstream.kin import CODE
from tests.upstream.test_process import Heard, python, start

pytestmark = pytest.mark.anyio

linux = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere only process groups are ended")


@contextmanager
def kept(folder: Path, *args: str) -> Generator[tuple[int, list[int]]]:
    """A gateway that keeps two servers, and the processes that belong to these."""
    said = folder / "pids"
    with run_process([*command("tests.upstream.keeper"), str(said), *args], ready=said.exists) as gateway:
        yield gateway.pid, [int(pid) for pid in said.read_text().split()]


async def family(guardian: Guardian) -> tuple[Child, list[int]]:
    """A server with all it may start."""
    heard = Heard()
    child = await spawn(python(CODE), heard, guardian)
    await wait_until(lambda: heard.stdout.endswith(b"\n"), DEADLINE)
    return child, [int(pid) for pid in heard.stdout.split()]


async def gone(pids: list[int]) -> None:
    await wait_until(lambda: not any(map(alive, pids)), DEADLINE)


def guardian_of(gateway: int) -> int | None:
    """The process id of a gateway's guardian, if it has one that lives."""
    for pid in [int(name) for name in os.listdir("/proc") if name.isdigit()]:
        with suppress(OSError):
            parent = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
            if parent == gateway and b"guardian_process" in Path(f"/proc/{pid}/cmdline").read_bytes() and alive(pid):
                return pid
    return None


# --- With its server -----------------------------------------------------------------------------------------------


@linux
async def test_what_a_server_started_ends_with_it() -> None:
    guardian = Guardian()
    child, pids = await family(guardian)
    assert len(pids) == 4
    assert all(map(alive, pids))
    other, others = await family(guardian)
    await child.end()
    await gone(pids)
    assert all(map(alive, others)), "another server's"
    await other.end()
    await guardian.aclose()
    assert not any(map(alive, others))


@linux
async def test_also_if_the_server_dies() -> None:
    guardian = Guardian()
    child, pids = await family(guardian)
    os.kill(child.pid, 9)
    await child.end()
    await gone(pids)
    await guardian.aclose()


@linux
async def test_what_does_not_end_when_asked_is_killed() -> None:
    guardian = Guardian()
    heard = Heard()
    stubborn = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); signal.pause()"
    code = f"""
import subprocess, sys
detached = subprocess.Popen([sys.executable, "-c", {stubborn!r}], start_new_session=True, stdout=subprocess.PIPE)
detached.stdout.readline()
print(detached.pid, flush=True)
sys.stdin.read()
"""
    child = await spawn(python(code), heard, guardian)
    await wait_until(lambda: heard.stdout.endswith(b"\n"), DEADLINE)
    await child.end()
    await gone([int(heard.stdout)])
    await guardian.aclose()


# --- With the gateway ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("args", [[], ["own"]])
@linux
async def test_a_killed_gateway_leaves_nothing(tmp_path: Path, args: list[str]) -> None:
    with kept(tmp_path, *args) as (gateway, pids):
        assert len(pids) == 8
        assert all(map(alive, pids))
        os.kill(gateway, 9)
        await gone(pids)


async def test_the_guardian_goes_when_the_gateway_does() -> None:
    guardian = Guardian()
    child, pids = await start(guardian)
    watcher = guardian._process  # pyright: ignore[reportPrivateUsage]
    assert watcher is not None
    assert alive(watcher.pid)
    await child.end()
    await guardian.aclose()
    await guardian.aclose()
    assert not alive(watcher.pid)
    assert not any(map(alive, pids))


async def test_a_guardian_that_died_is_replaced() -> None:
    guardian = Guardian()
    first, first_pids = await start(guardian)
    watcher = guardian._process  # pyright: ignore[reportPrivateUsage]
    assert watcher is not None
    watcher.kill()
    await wait_until(lambda: not alive(watcher.pid))
    second, second_pids = await start(guardian)
    await guardian.aclose()  # released nothing, so it ends both
    await gone([*first_pids, *second_pids])
    await first.end()
    await second.end()


async def test_without_waiting_for_the_next_child() -> None:
    guardian = Guardian(UpstreamTiming(guardian_check_seconds=0.01))
    child, pids = await start(guardian)
    watcher = guardian._process  # pyright: ignore[reportPrivateUsage]
    assert watcher is not None
    async with anyio.create_task_group() as tg:
        tg.start_soon(guardian.run)
        watcher.kill()
        await wait_until(lambda: guardian._process is not watcher)  # pyright: ignore[reportPrivateUsage]
        tg.cancel_scope.cancel()
    await guardian.aclose()
    await gone(pids)
    await child.end()


@linux
async def test_a_gateway_that_is_killed_after_its_guardian_leaves_nothing(tmp_path: Path) -> None:
    with kept(tmp_path, "own") as (gateway, pids):
        first = guardian_of(gateway)
        assert first is not None
        os.kill(first, 9)
        await wait_until(lambda: guardian_of(gateway) not in (None, first), DEADLINE)
        os.kill(gateway, 9)
        await gone(pids)


# --- Orphans -------------------------------------------------------------------------------------------------------


def parent_of(pid: int) -> int | None:
    """None if there is no such process, not even as a zombie."""
    with suppress(OSError):
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return None


def zombies(parent: int) -> int:
    """How many children of a process have ended and were not waited for."""
    count = 0
    for name in os.listdir("/proc"):
        with suppress(OSError, IndexError):
            state, its_parent = Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()[:2]
            count += state == "Z" and int(its_parent) == parent
    return count


@linux
async def test_orphans_come_to_the_gateway_and_are_reaped(tmp_path: Path) -> None:
    with kept(tmp_path, "own") as (gateway, pids):
        daemons = [pids[3], pids[7]]
        for pid in daemons:
            await wait_until(lambda: parent_of(pid) == gateway, DEADLINE)  # noqa: B023 - awaited here
            os.kill(pid, 9)
        await wait_until(lambda: [parent_of(pid) for pid in daemons] == [None, None], DEADLINE)
        assert zombies(gateway) == 0
        assert all(alive(pid) for pid in pids if pid not in daemons)
