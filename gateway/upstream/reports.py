"""What the log hears of an upstream. What was said before, and changes nothing, is said at debug level only."""

import time
from collections.abc import Callable

import anyio
import structlog

from gateway.upstream.breaker import Breaker, BreakerState
from gateway.upstream.link import TROUBLED, State, Status
from gateway.upstream.repetition import Repetition
from gateway.upstream.transport.stderr import MAX_NOISE, BoundedLog

log = structlog.stdlib.get_logger("gateway.upstream")


class UpstreamReports:
    """
    Args:
        upstream: its name.
        is_up: whether the connection that all share is.
    """

    def __init__(self, upstream: str, is_up: Callable[[], bool]) -> None:
        self._upstream = upstream
        self._is_up = is_up
        self._said = Repetition()
        self._noise = BoundedLog(self._on_noise, time.monotonic, MAX_NOISE)

    def status(self, status: Status) -> None:
        """The connection that all share has another state."""
        if status.state in (State.READY, State.STOPPED):
            self._said.forget()
        say = log.warning if status.state in TROUBLED else log.info
        if not self._said.is_new(status.state.value, status.reason):
            say = log.debug  # the next attempt failed like the one before
        elif status.state is State.STOPPED and not status.reason:
            say = log.debug  # the gateway ends, and has said so
        say("upstream " + status.state.value, upstream=self._upstream, reason=status.reason or None)

    def private_status(self, status: Status) -> None:
        """What becomes of one agent's connection says nothing about what the upstream offers."""
        state = status.state.value
        log.info(f"upstream {state} for one agent", upstream=self._upstream, reason=status.reason or None)

    def breaker(self, whose: str, breaker: Breaker) -> None:
        if breaker.state is BreakerState.OPEN:
            wait = round(breaker.retry_after(anyio.current_time()) or 0.0, 1)
            log.warning(f"breaker open{whose}", upstream=self._upstream, reason=breaker.reason, retry_after=wait)
        else:
            log.info(f"breaker {breaker.state.value}{whose}", upstream=self._upstream)

    def incomplete(self, problem: str) -> None:
        """A list could not be fetched, or not all of it."""
        log.warning("upstream list incomplete", upstream=self._upstream, problem=problem)

    def refusal(self, text: str) -> None:
        """It refused us with this body, which was no JSON-RPC."""
        body = "".join(c if c.isprintable() else " " for c in text)
        say = log.info if self._said.is_new("refusal", body) else log.debug
        say("upstream refused", upstream=self._upstream, body=body)

    def stderr(self, line: str, suppressed: int) -> None:
        say = log.info if self._is_up() or self._said.is_new("stderr", line) else log.debug
        say("stderr", upstream=self._upstream, line=line, suppressed=suppressed or None)

    def noise(self, text: str) -> None:
        """It sent what is no message. Bounded, however much comes."""
        self._noise.say(text)

    def _on_noise(self, text: str, suppressed: int) -> None:
        say = log.warning if self._is_up() or self._said.is_new("noise", text) else log.debug
        say("upstream noise", upstream=self._upstream, noise=text, suppressed=suppressed or None)
