"""How the verbs look: colours, marks, tables.

Colours come from `click.style`; `click.echo` removes them where nobody would see them.
"""

import shutil
import sys
import textwrap
import unicodedata
from collections.abc import Callable, Sequence
from typing import Any, Final, TextIO

import click

from gateway.harmless import harmless

Style = Callable[[str], str]

GAP: Final = "  "
MARKS: Final = {"ok": ("✓", "+", "green"), "note": ("!", "!", "yellow"), "problem": ("✗", "x", "red")}
"""Kind → its mark, the same for terminals without Unicode, its colour."""


def mark(kind: str) -> str:
    """The coloured mark of `ok`, `note` or `problem`."""
    sign, plain, colour = MARKS[kind]
    return click.style(sign if shows(sign, sys.stdout) else plain, fg=colour)


def shows(text: str, stream: TextIO) -> bool:
    """Whether a stream's encoding has all of `text`."""
    try:
        text.encode(stream.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def dim(text: str) -> str:
    return click.style(text, dim=True)


def bold(text: str) -> str:
    return click.style(text, bold=True)


def print_json(value: Any) -> None:
    """Indented; numbers and halves of surrogate pairs as they came."""
    from gateway import jsonrpc

    click.echo(jsonrpc.pretty(value))


def width(stream: TextIO) -> int | None:
    """Columns of the terminal that `stream` is; None when it is none, and nothing needs cutting."""
    return shutil.get_terminal_size().columns if stream.isatty() else None


def columns(text: str) -> int:
    """How many columns `text`, without colours, takes."""
    return sum(_columns(character) for character in text)


def _columns(character: str) -> int:
    if unicodedata.combining(character) or unicodedata.category(character) == "Cf":
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def cut(text: str, limit: int) -> str:
    """`text` in at most `limit` columns, with an ellipsis where it was longer."""
    if columns(text) <= limit:
        return text
    kept, used = "", 1
    for character in text:
        used += _columns(character)
        if used > limit:
            break
        kept += character
    return kept.rstrip() + "…" if limit > 0 else ""


def plural(count: int, noun: str) -> str:
    """`1 tool`, `1,234 tools`."""
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def wrapped(text: str, indent: int, limit: int | None) -> str:
    """`text` as one block, its lines after the first indented so that it can stand after `indent` columns."""
    if limit is None:
        return text.replace("\n", "\n" + " " * indent)
    room = max(limit - indent, 24)
    lines = [part for line in text.splitlines() for part in textwrap.wrap(line, room, break_on_hyphens=False) or [""]]
    return ("\n" + " " * indent).join(lines)


def table(
    rows: Sequence[Sequence[str]],
    *,
    header: Sequence[str] = (),
    styles: Sequence[Style | None] = (),
    right: Sequence[int] = (),
    limit: int | None = None,
    indent: int = 0,
) -> list[str]:
    """Aligned lines; what is wider than `limit` columns is cut, which the last column has to bear.

    Args:
        styles: for each column, how to colour it.
        right: the columns to align on the right.
    """
    everything = [header, *rows] if header else rows
    widths = [max(map(columns, column)) for column in zip(*everything, strict=True)]
    lines: list[str] = []
    for row in everything:
        is_header = row is header
        line, used = " " * indent, indent
        for index, cell in enumerate(row):
            room = widths[index] if limit is None else min(widths[index], max(0, limit - used))
            cell = cut(cell, room)
            padding = " " * (room - columns(cell))
            style = dim if is_header else styles[index] if index < len(styles) else None
            shown = style(cell) if style and cell else cell
            line += padding + shown if index in right else shown + padding
            line, used = line + GAP, used + room + len(GAP)
        lines.append(line.rstrip())
    return lines


def first_line(text: str) -> str:
    """The first line of `text` that says something, on one line and harmless."""
    line = next((line.strip() for line in text.splitlines() if line.strip()), "")
    return harmless(line).replace("\t", " ")
