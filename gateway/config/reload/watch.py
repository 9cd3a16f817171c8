"""Notices that files have changed, however that was done: written in place, replaced, or linked to something else.

Folders are watched and not files: an editor that replaces a file, and Kubernetes, which turns the link of a whole
folder, leave the file that was watched behind. What counts is what the path leads to. A look once a second finds what
no event told of: network drives have none.
"""

import os
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import aclosing
from pathlib import Path
from typing import Final

import anyio

from gateway.blocking import in_thread
from gateway.unopened import put_off

LOOK_SECONDS: Final = 1.0
DEBOUNCE_MS: Final = 1000
"""Changes that follow each other closely are one; after this long they are looked at even if they go on."""

Seen = dict[Path, tuple[str, int, int, int] | None]
"""What each path leads to: file, inode, size and time of change; None when there is nothing."""


async def watch(
    files: Callable[[], Iterable[Path]],
    on_change: Callable[[], Awaitable[None]],
    seen: Seen | None = None,
    *,
    look_seconds: float = LOOK_SECONDS,
) -> None:
    """Have `on_change` called after each change, until cancelled.

    Args:
        files: absolute paths; asked for again after each change.
        seen: how they looked before (`look`); what differs from that is a change. Without it, as they look now.
        look_seconds: how soon what no event tells of is noticed.
    """
    stop = anyio.Event()
    if seen is None:
        seen = await in_thread(look, files())

    async def check() -> None:
        nonlocal seen
        now = await in_thread(look, files())
        if now != seen:
            seen = now  # as it was before it is read: what changes meanwhile is a change
            await on_change()

    async with anyio.create_task_group() as tg:
        tg.start_soon(_set_at_end, stop)
        while not stop.is_set():
            watched = await in_thread(folders, files())
            async with aclosing(_events(watched, stop, look_seconds)) as events:
                async for _ in events:
                    await check()
                    if await in_thread(folders, files()) != watched:
                        break


def look(files: Iterable[Path]) -> Seen:
    """How files look now. Blocks."""
    seen: Seen = {}
    for path in files:
        try:
            stat = os.stat(path)
        except OSError:
            seen[path] = None
        else:
            seen[path] = os.path.realpath(path), stat.st_ino, stat.st_size, stat.st_mtime_ns
    return seen


def folders(files: Iterable[Path]) -> list[str]:
    """Every folder in which one of the paths, or a link on the way from it, could be replaced."""
    found: set[str] = set()
    for path in files:
        for _ in range(40):  # as many links as Linux follows
            found.add(str(path.parent))
            found.add(os.path.realpath(path.parent))
            try:
                path = path.parent / os.readlink(path)
            except OSError:  # no link
                break
    return sorted(folder for folder in found if os.path.isdir(folder))


async def _events(folders: list[str], stop: anyio.Event, look_seconds: float) -> AsyncGenerator[None]:
    """At every event in these folders, and every so many seconds, until `stop`; it ends when they cannot be watched."""
    put_off("watchfiles")  # its `__init__` imports multiprocessing
    from watchfiles.main import awatch  # pyright: ignore[reportUnknownVariableType] - a parameter we do not use

    try:
        changes = awatch(
            *folders,
            watch_filter=None,
            recursive=False,
            debounce=DEBOUNCE_MS,
            rust_timeout=int(look_seconds * 1000),
            yield_on_timeout=True,
            ignore_permission_denied=True,
            stop_event=stop,
        )
        async with aclosing(changes):
            async for _ in changes:
                yield
    except (OSError, RuntimeError):  # a folder that vanished, or no watches left to be had: the look alone has to do
        await anyio.sleep(look_seconds)
        yield


async def _set_at_end(stop: anyio.Event) -> None:
    """The watching thread cannot be cancelled, only told."""
    try:
        await anyio.sleep_forever()
    finally:
        stop.set()
