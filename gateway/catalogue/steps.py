"""Work in steps, for a single thread: done at once, or with turns for others in between."""

from collections.abc import Callable, Generator

import anyio
import anyio.to_thread
from anyio.lowlevel import checkpoint

from gateway.catalogue.catalogue import Catalogue

Steps = Generator[Callable[[], Catalogue], Catalogue, None]
"""Yields work, and is sent what comes of it."""


def at_once(steps: Steps) -> None:
    try:
        work = next(steps)
        while True:
            work = steps.send(work())
    except StopIteration:
        pass


async def in_steps(steps: Steps, *, beside: bool) -> None:
    """
    Args:
        beside: whether each step takes so long that it is made beside the event loop.
    """
    try:
        work = next(steps)
        while True:
            if beside:
                result = await anyio.to_thread.run_sync(work)
            else:
                result = work()
                await checkpoint()
            work = steps.send(result)
    except StopIteration:
        pass
