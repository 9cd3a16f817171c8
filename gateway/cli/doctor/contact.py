"""The first contact with an upstream: waits until it is known what it offers, or that it does not work."""

from dataclasses import dataclass
from typing import Final

import anyio

from gateway.upstream.link import TROUBLED, State
from gateway.upstream.upstream import Upstream

SECOND_CHANCE_SECONDS: Final = 8.0
"""A program that left sooner than this is started once more: some servers of the handshake era leave when probed for
the modern one, and the supervisor knows that only afterwards."""


@dataclass(frozen=True, slots=True)
class ServerContact:
    """How it went."""

    works: bool
    reason: str
    """Why not, or which of its lists could not be had."""
    seconds: float
    """From the start of the program, or the first connection, until its lists were there."""
    needs_login: bool = False
    """Whether all that it lacks is somebody who logs in."""


async def contact(upstream: Upstream) -> ServerContact:
    """Wait for the upstream, which somebody runs. What an earlier run knew of it does not count."""
    started = anyio.current_time()
    result = await _attempt(upstream, started)
    may_try = upstream.config.type == "stdio" and upstream.status.state is not State.OUT_OF_ORDER
    if not result.works and may_try and result.seconds < min(SECOND_CHANCE_SECONDS, upstream.config.connect_timeout):
        upstream.expect_again()
        upstream.wake()
        started = anyio.current_time()
        result = await _attempt(upstream, started)
    return result


async def _attempt(upstream: Upstream, started: float) -> ServerContact:
    await upstream.settled.wait()
    status = upstream.status
    works = status.state not in (State.BACKING_OFF, State.OUT_OF_ORDER, State.LOGIN_NEEDED) and not (
        status.state is State.DEGRADED and "tools/list" in status.reason
    )
    reason = status.reason if status.state in TROUBLED else ""
    seconds = anyio.current_time() - started
    return ServerContact(works, plain_reason(upstream.name, reason), seconds, status.state is State.LOGIN_NEEDED)


def plain_reason(upstream: str, reason: str) -> str:
    """A reason where the upstream's name has been said already."""
    return reason.removeprefix(f"Upstream {upstream!r} ")
