"""The signals the gateway heeds: SIGTERM and SIGINT ask it to stop, a second one ends it at once, SIGHUP to reload."""

import os
import signal
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

import anyio
from anyio.abc import TaskStatus


@asynccontextmanager
async def asked_to_stop() -> "AsyncGenerator[anyio.Event]":
    """An event that the first SIGTERM or SIGINT sets. The second ends the process where it stands; the guardian sees to
    its children."""
    stop = anyio.Event()
    async with anyio.create_task_group() as tg:
        await tg.start(_on_stop, stop)
        try:
            yield stop
        finally:
            tg.cancel_scope.cancel()


async def _on_stop(stop: anyio.Event, *, task_status: TaskStatus[None]) -> None:
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as received:
        task_status.started()
        again = False
        async for number in received:
            if again:
                signal.signal(number, signal.SIG_DFL)
                signal.raise_signal(number)
            again = True
            stop.set()


async def on_hangup(
    act: Callable[[], Awaitable[None]], *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED
) -> None:
    """Act on each SIGHUP, where there is such a signal. That of a terminal which is closed means what it always did."""
    if not hasattr(signal, "SIGHUP"):
        task_status.started()
        return
    at_terminal = _is_at_terminal()
    with anyio.open_signal_receiver(signal.SIGHUP) as received:
        task_status.started()
        async for _ in received:
            if at_terminal and not _is_at_terminal():
                signal.raise_signal(signal.SIGTERM)
            else:
                await act()


def _is_at_terminal() -> bool:
    """Whether one of our standard streams is a terminal that is still there."""
    return any(os.isatty(fd) for fd in (0, 1, 2))
