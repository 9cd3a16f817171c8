"""The guardian: no child outlives the gateway, however the gateway ends."""

from pathlib import Path

import pytest

from gateway.upstream.guardian import Guardian
from tests.support import alive, command, run_process, wait_until
from tests.upstream.ends import DEADLINE
from tests.upstream.test_process import start

pytestmark = pytest.mark.anyio


async def test_a_killed_gateway_leaves_no_child(tmp_path: Path) -> None:
    said = tmp_path / "pids"
    with run_process([*command("tests.upstream.keeper"), str(said)], ready=said.exists) as gateway:
        pids = [int(pid) for pid in said.read_text().split()]
        assert len(pids) == 4
        assert all(map(alive, pids))
        gateway.kill()
        await wait_until(lambda: not any(map(alive, pids)), DEADLINE)


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
    await wait_until(lambda: not any(map(alive, [*first_pids, *second_pids])))
    await first.end()
    await second.end()
