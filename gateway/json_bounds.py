"""How many values a JSON document has, and how deep it is, by its bytes alone: before it is decoded, or instead."""

from array import array
from collections.abc import Iterable
from itertools import accumulate, chain
from typing import Any, Final, cast

MAX_VALUES: Final = 100_000
"""Most values in one message, an agent's or an upstream's. A million keys take 0.3 s, or 1 s beside a long integer, in
which nothing else happens; so many, a tenth of a second at the very worst."""
MAX_DEPTH: Final = 512
"""Most arrays and objects inside one another. The standard library writes some 900, depending on who calls it."""
_FEW: Final = 16
"""Brackets that are looked for one by one."""
_PASSES: Final = 8
"""Over the brackets of a document, before they are counted one by one. Few have more layers than are taken off so."""
_MAX_SCANNED: Final = 1024 * 1024
"""Most bytes of one whose brackets are looked at; what is larger takes long, and is decoded to see it."""
_NO_BRACKETS: Final = bytes(set(range(256)) - set(b"[{"))
_NO_MARKS: Final = bytes(set(range(256)) - set(b'[]{}"'))
_STEPS: Final = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")
"""One layer more, or, as a signed byte, one less."""
_BACKSLASH: Final = 92


class TooManyValues(ValueError):
    """Decoding it would hold everybody else up for too long."""


def check_brackets(data: bytes, brackets: int, max_values: int) -> None:
    """
    Args:
        brackets: as many as `brackets_of` the document.

    Raises:
        TooManyValues: it has more values than that.
    """
    if brackets + data.count(b",") > max_values and _marks(_without_strings(data, max_values)) > max_values:
        raise TooManyValues(f"It has more than {max_values} values.")


def needs_a_look(data: bytes) -> bool:
    """Whether it may be nested too deep or have too many values, which `loads` finds out: what is passed on as bytes
    keeps the bounds of what is decoded."""
    return may_have_many_values(data) or (has_many_brackets(data) and may_be_deep(data))


def may_have_many_values(data: bytes) -> bool:
    """Whether there may be more than `MAX_VALUES`."""
    return len(data) > 2 * MAX_VALUES and brackets_of(data) + data.count(b",") > MAX_VALUES


def has_many_brackets(data: bytes) -> bool:
    """Whether there are more than `MAX_DEPTH`. Most have a few, and to look for one is thirty times as fast as to count
    all."""
    left = _FEW
    for bracket in (b"[", b"{"):
        at = data.find(bracket)
        while at >= 0:
            left -= 1
            if left < 0:
                return brackets_of(data) > MAX_DEPTH
            at = data.find(bracket, at + 1)
    return False


def may_be_deep(data: bytes) -> bool:
    """Whether it may be nested more than `MAX_DEPTH` deep, by its brackets alone. With each pass, what is innermost is
    taken off, which is two layers at most; few documents have more than a few. What stands in strings, above all JSON
    that is a text, does not count. Of what is no JSON, as who decodes it will say, it is not found out."""
    if len(data) <= MAX_DEPTH or len(data) > _MAX_SCANNED:
        return len(data) > _MAX_SCANNED
    bare = data.replace(b"\\\\", b"").replace(b'\\"', b"") if _BACKSLASH in data else data
    marks = bare.translate(None, _NO_MARKS).replace(b'""', b"")  # strings without a bracket; or the gap between two
    if marks.count(b'"') > 4 * MAX_VALUES:
        return True
    brackets = b"".join(marks.split(b'"')[::2])
    if len(brackets) != 2 * brackets_of(brackets):
        return True
    for _ in range(_PASSES):
        if len(brackets) <= MAX_DEPTH:
            return False
        brackets = brackets.replace(b"[]", b"").replace(b"{}", b"")
    left = 2 * _PASSES  # layers, at most, that were taken off
    return max(accumulate(array("b", brackets.translate(_STEPS))), default=0) + left > MAX_DEPTH


def depth(value: object) -> int:
    """How many arrays and objects stand inside one another. Iterative: what it guards against is deep recursion."""
    deep, level = 0, _containers([value])
    while level:
        deep += 1
        level = _containers(chain.from_iterable(node.values() if isinstance(node, dict) else node for node in level))
    return deep


def _containers(nodes: Iterable[object]) -> list[dict[str, Any] | list[Any]]:
    return [cast("dict[str, Any] | list[Any]", node) for node in nodes if isinstance(node, dict | list)]


def _marks(data: bytes) -> int:
    """How many values there can be, at most: each but the first follows one of these marks, or stands alone."""
    return data.count(b",") + brackets_of(data)


def brackets_of(data: bytes) -> int:
    """How many open in it, in strings and elsewhere."""
    return len(data.translate(None, _NO_BRACKETS))


def _without_strings(data: bytes, max_values: int) -> bytes:
    """What stands between the strings; all of it if these are too many themselves, and not worth being taken apart."""
    bare = data.replace(b"\\\\", b"").replace(b'\\"', b"") if b"\\" in data else data
    return b"".join(bare.split(b'"')[::2]) if bare.count(b'"') <= 4 * max_values else data
