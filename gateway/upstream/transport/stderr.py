"""What an upstream prints, as log lines: under its name, bounded in length and rate."""

from collections.abc import Callable
from typing import Final

from gateway.harmless import LONGEST_SECRET, Clipped
from gateway.upstream.transport.lines import LineSplitter, Overlong

MAX_LINE: Final = 4096
"""Most characters of a line that are logged."""
MAX_NOISE: Final = 300
"""The same, of what came where a message should."""
LINES_PER_SECOND: Final = 50
BURST: Final = 200


class BoundedLog:
    """Passes lines to `emit` at no more than `LINES_PER_SECOND` after a burst; counts and reports the rest.

    Args:
        emit: `(line, suppressed)`; `suppressed` lines were dropped before this one.
        clock: seconds, monotonic.
        limit: characters of a line that are shown.
    """

    def __init__(self, emit: Callable[[Clipped, int], None], clock: Callable[[], float], limit: int = MAX_LINE) -> None:
        self._limit = limit
        self._emit = emit
        self._clock = clock
        self._tokens = float(BURST)
        self._at = clock()
        self._suppressed = 0

    def say(self, text: str) -> None:
        if self._is_flooded():
            self._suppressed += 1
            return
        self._tokens -= 1
        text = text[: self._limit + LONGEST_SECRET]
        self._report("".join(c if c.isprintable() or c == "\t" else "�" for c in text))

    def _is_flooded(self) -> bool:
        now = self._clock()
        self._tokens = min(float(BURST), self._tokens + (now - self._at) * LINES_PER_SECOND)
        self._at = now
        return self._tokens < 1

    def _report(self, text: str) -> None:
        suppressed, self._suppressed = self._suppressed, 0
        self._emit(Clipped(text, self._limit), suppressed)


class StderrLog(BoundedLog):
    """The same for a byte stream."""

    def __init__(self, emit: Callable[[Clipped, int], None], clock: Callable[[], float]) -> None:
        super().__init__(emit, clock)
        self._lines = LineSplitter(MAX_LINE + LONGEST_SECRET)

    def feed(self, data: bytes) -> None:
        if self._is_flooded():
            self._suppressed += data.count(b"\n")  # not worth splitting: a flood must cost next to nothing
            self._lines.rest()
            return
        for line in self._lines.feed(data):
            self._line(line.head if isinstance(line, Overlong) else line)

    def finish(self) -> None:
        """The stream is over: what stood on its last line, and how much was suppressed, is said."""
        self._line(self._lines.rest())
        if self._suppressed:
            self._report("(end of stderr)")

    def _line(self, line: bytes) -> None:
        text = line.decode("utf-8", "replace").strip()
        if text:
            self.say(text)
