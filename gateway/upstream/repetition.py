"""Whether something about an upstream was said before, so that a retry repeats nothing of what is known. Pure."""

from typing import Final

MAX_KEPT: Final = 500
"""Texts remembered. Whoever says more than that is not repeating itself."""


class Repetition:
    """What was said since the upstream last worked."""

    def __init__(self) -> None:
        self._said: set[int] = set()

    def is_new(self, *texts: str) -> bool:
        """Whether this was not said yet; from now on it was."""
        key = hash(texts)
        if key in self._said:
            return False
        if len(self._said) < MAX_KEPT:
            self._said.add(key)
        return True

    def forget(self) -> None:
        """It works: what it says from now on is news."""
        self._said.clear()
