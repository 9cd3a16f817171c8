"""What must hold, and whether it does: the rows of the benchmark's table."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One line.

    Args:
        must: the limit in words, for example `≤ 1.0 ×`.
        beyond: the next aim in the same way.
        measured: in words.
        holds: None where nothing could be compared, as a peer is not there.
    """

    what: str
    must: str
    measured: str
    holds: bool | None
    beyond: str = ""


def at_most(what: str, limit: float, value: float, unit: str = " ×", *, beyond: str = "", detail: str = "") -> Row:
    return Row(what, f"≤ {limit:g}{unit}", _said(value, unit, detail), value <= limit, beyond)


def at_least(what: str, limit: float, value: float, unit: str = " ×", *, beyond: str = "", detail: str = "") -> Row:
    return Row(what, f"≥ {limit:g}{unit}", _said(value, unit, detail), value >= limit, beyond)


def not_compared(what: str, must: str, whom: str) -> Row:
    return Row(what, must, f"{whom} is not there", None)


def _said(value: float, unit: str, detail: str) -> str:
    return f"{value:.3g}{unit}" + (f" ({detail})" if detail else "")
