"""Two definitions compared, in lines for people: the place of each value that differs, what it was, what it is. Pure.

Linear in the size of the two, and lazy: upstreams write what is compared here, and readers stop where they like.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final, cast

from gateway import jsonrpc
from gateway.catalogue.place import Place, shown
from gateway.harmless import harmless

_ABSENT: Final = object()
_PLAIN: Final = (str, int, bool, type(None))


def differences(old: Any, new: Any, longest: int | None = None) -> Iterator[str]:
    """`place:`, then the lines that went (`- …`) and that came (`+ …`). None is no definition at all.

    Lines that both values begin or end with are left out. What cannot be seen is written as an escape.

    Args:
        longest: characters of a line that are wanted.
    """
    yield from _compare(None, _ABSENT if old is None else old, _ABSENT if new is None else new, longest)


def _compare(place: Place, old: Any, new: Any, longest: int | None) -> Iterator[str]:
    before, after = _members(old, new), _members(new, old)
    if before or after:
        for key in dict.fromkeys([*before, *after]):
            one, other = before.get(key, _ABSENT), after.get(key, _ABSENT)
            if type(one) in _PLAIN and type(one) is type(other) and one == other:
                continue  # as nearly all are, and this is quick
            yield from _compare((place, key), one, other, longest)
        return
    of_one_type = old is _ABSENT or new is _ABSENT or type(old) is type(new)
    gone, came = _lines(old, of_one_type), _lines(new, of_one_type)
    if gone == came:
        return
    start = _common(gone, came)
    end = _common(gone[start:][::-1], came[start:][::-1])
    yield f"{shown(place)}:" if place else "it:"
    yield from (f"- {harmless(line[:longest])}" for line in gone[start : len(gone) - end])
    yield from (f"+ {harmless(line[:longest])}" for line in came[start : len(came) - end])


def _members(value: Any, other: Any) -> dict[str, Any]:
    """What is in `value`, if that can be told apart in `other` as well."""
    if isinstance(value, dict) and (other is _ABSENT or isinstance(other, dict)):
        return cast("dict[str, Any]", value)
    if isinstance(value, list) and isinstance(other, list):
        some, others = cast("list[Any]", value), cast("list[Any]", other)
        return {str(index): each for index, each in enumerate(some)} if len(some) == len(others) else {}
    return {}


def _lines(value: Any, is_split: bool) -> list[str]:
    """With `is_split`, a text's own lines and a list's elements; else the value whole, as JSON."""
    if value is _ABSENT:
        return []
    if is_split and isinstance(value, str):
        return value.split("\n")
    elements = cast("list[Any]", value) if is_split and isinstance(value, list) else []
    return [jsonrpc.dumps(each).decode() for each in elements or [value]]


def _common(some: Sequence[str], others: Sequence[str]) -> int:
    """How many lines both begin with."""
    return next((n for n, (a, b) in enumerate(zip(some, others, strict=False)) if a != b), min(len(some), len(others)))
