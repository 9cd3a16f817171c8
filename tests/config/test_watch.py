"""A change is noticed, however it was made; what only looks like one is not."""

import os
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import anyio
import pytest
from anyio.to_thread import current_default_thread_limiter

from gateway.config.reload import watch
from tests.support import wait_until

pytestmark = pytest.mark.anyio


class Noticed:
    def __init__(self) -> None:
        self.times = 0

    async def __call__(self) -> None:
        self.times += 1

    async def change(self, act: Callable[[], object]) -> None:
        """Make a change, and wait until it has been noticed."""
        before = self.times
        act()
        await wait_until(lambda: self.times > before)


@asynccontextmanager
async def watching(*files: Path, look_seconds: float = watch.LOOK_SECONDS) -> AsyncGenerator[Noticed]:
    """Watch these files; the first change has been noticed."""
    noticed = Noticed()
    async with anyio.create_task_group() as tg:
        tg.start_soon(partial(watch.watch, lambda: files, noticed, look_seconds=look_seconds))

        async def begun() -> bool:
            files[0].touch()
            return noticed.times > 0

        await wait_until(begun)
        yield noticed
        tg.cancel_scope.cancel()


def replace(file: Path, text: str) -> None:
    """As editors do."""
    new = file.with_suffix(".new")
    new.write_text(text)
    new.replace(file)


async def test_written_replaced_removed_and_made_again(tmp_path: Path) -> None:
    file = tmp_path / "servers.yaml"
    file.write_text("one")
    async with watching(file) as noticed:
        await noticed.change(lambda: file.write_text("three"))
        await noticed.change(lambda: replace(file, "other"))
        await noticed.change(lambda: replace(file, "again"))
        await noticed.change(file.unlink)
        await noticed.change(lambda: file.write_text("back"))


async def test_a_link_on_the_way_leads_elsewhere(tmp_path: Path) -> None:
    """A Kubernetes config map: `servers.yaml` → `..data/servers.yaml`, `..data` → the version."""
    for version in ("1", "2", "3"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "servers.yaml").write_text("same length")
    (tmp_path / "..data").symlink_to("1")
    file = tmp_path / "servers.yaml"
    file.symlink_to("..data/servers.yaml")

    def lead_to(version: str) -> None:
        (tmp_path / "..next").symlink_to(version)
        os.replace(tmp_path / "..next", tmp_path / "..data")

    async with watching(file) as noticed:
        await noticed.change(lambda: lead_to("2"))
        await noticed.change(lambda: lead_to("3"))
        await noticed.change(lambda: (tmp_path / "3" / "servers.yaml").write_text("in place"))


async def test_a_folder_that_comes_later(tmp_path: Path) -> None:
    file, late = tmp_path / "servers.yaml", tmp_path / "late" / "up.env"
    file.write_text("")
    async with watching(file, late) as noticed:

        def come() -> None:
            late.parent.mkdir()
            late.write_text("A=1")

        await noticed.change(come)
        await noticed.change(lambda: replace(late, "A=2"))


async def test_without_events_it_looks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:

    def nowhere(files: object) -> list[str]:
        return [str(tmp_path / "nowhere")]

    monkeypatch.setattr(watch, "folders", nowhere)
    file = tmp_path / "servers.yaml"
    file.write_text("one")
    async with watching(file, look_seconds=0.05) as noticed:
        await noticed.change(lambda: file.write_text("three"))


async def test_its_end_does_not_wait_for_the_next_look(tmp_path: Path) -> None:
    file = tmp_path / "servers.yaml"
    file.write_text("one")
    asked: list[None] = []

    def files() -> list[Path]:
        asked.append(None)
        return [file]

    def waits_for_events() -> bool:
        """In the thread that comes after the second question."""
        return len(asked) >= 2 and current_default_thread_limiter().borrowed_tokens > 0

    with anyio.fail_after(20):
        async with anyio.create_task_group() as tg:
            tg.start_soon(partial(watch.watch, files, Noticed(), look_seconds=40.0))
            await wait_until(waits_for_events)
            tg.cancel_scope.cancel()


def test_where_it_looks(tmp_path: Path) -> None:
    real = tmp_path / "real"
    (real / "1").mkdir(parents=True)
    (real / "1" / "file").write_text("")
    (real / "now").symlink_to("1")
    (tmp_path / "there").symlink_to(real)
    (tmp_path / "file").symlink_to("there/now/file")
    (tmp_path / "loop").symlink_to("loop")
    expected = {tmp_path, tmp_path / "there" / "now", real / "1"}
    assert set(watch.folders([tmp_path / "file"])) == set(map(str, expected))
    assert watch.folders([tmp_path / "loop", tmp_path / "absent" / "file"]) == [str(tmp_path)]


def test_what_is_the_same(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("one")
    seen = watch.look([file, tmp_path / "absent"])
    (tmp_path / "other").write_text("beside it")
    assert watch.look([file, tmp_path / "absent"]) == seen
