"""A line on stderr that says what is being waited for. Only on a terminal, only after a moment, and gone afterwards."""

import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Final

import anyio
import click

from gateway.cli.ui.terminal import cut, dim, width

PATIENCE_SECONDS: Final = 0.4
"""What takes no longer needs no explanation."""
TICK_SECONDS: Final = 0.2
CLEAR: Final = "\r\x1b[K"


@asynccontextmanager
async def waiting_for(names: Callable[[], list[str]]) -> "AsyncGenerator[None]":
    """While the block runs, show which of `names` are still being waited for."""
    if not sys.stderr.isatty():
        yield
        return
    shown = False

    async def show() -> None:
        nonlocal shown
        started = anyio.current_time()
        await anyio.sleep(PATIENCE_SECONDS)
        while True:
            if left := names():
                shown = True
                text = f"waiting for {', '.join(left)} … {anyio.current_time() - started:.0f} s"
                click.echo(CLEAR + dim(cut(text, (width(sys.stderr) or 80) - 1)), err=True, nl=False)
            await anyio.sleep(TICK_SECONDS)

    async with anyio.create_task_group() as tg:
        tg.start_soon(show)
        try:
            yield
        finally:
            tg.cancel_scope.cancel()
            if shown:
                click.echo(CLEAR, err=True, nl=False)
