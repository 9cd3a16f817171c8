"""How well the store can be reached. Pure: the clock is passed in.

Quick → calls may wait for it. Not quick → decide without it. Silent for `SILENCE_SECONDS` → what needs it is refused.
"""

from typing import Final

from gateway.store.shared import SILENCE_SECONDS

QUICK_SECONDS: Final = 0.05
"""Within which an answer is quick."""
STRIKES: Final = 2
"""So many answers in a row that were not make a store that is not: one may be slow because this process was."""


class StoreContact:
    def __init__(self, now: float, silence_seconds: float = SILENCE_SECONDS) -> None:
        self.is_quick = False
        self.reason = "it has not been reached yet"
        self._heard_at = now
        self._silence_seconds = silence_seconds
        self._strikes = 0

    def answered(self, now: float, took: float) -> None:
        """Something was answered, so many seconds after it was asked."""
        self._heard_at = now
        self.reason = ""
        if took <= QUICK_SECONDS:
            self.is_quick, self._strikes = True, 0
        else:
            self.overdue(took)

    def overdue(self, waited: float) -> None:
        """Something was not answered for so long, and may be yet."""
        self._strikes += 1
        if self._strikes >= STRIKES:
            self.is_quick = False
            self.reason = self.reason or f"it takes {round(waited * 1000)} ms to answer"

    def failed(self, reason: str) -> None:
        """There is no connection."""
        self.is_quick = False
        self.reason = reason

    def silence(self, now: float) -> float:
        """Seconds since it was last heard of."""
        return now - self._heard_at

    def is_silent(self, now: float) -> bool:
        """Whether what needs it must not go on."""
        return self.silence(now) >= self._silence_seconds
