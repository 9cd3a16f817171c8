"""Lists served page by page. The cursor names the last item served, so that a page survives a change of the list."""

import base64
from bisect import bisect_right
from collections.abc import Sequence
from typing import Any, Final

from gateway.errors import InvalidParams
from gateway.upstream.listing import Item

_FORM: Final = b"1:"
"""What a cursor starts with, once decoded; a later form will have another number."""


def page(
    items: Sequence[Item], cursor: Any, size: int, key: str, *, is_sorted: bool = True
) -> tuple[Sequence[Item], str | None]:
    """At most `size` (≥ 1) items after `cursor` (None: from the start), and the next page's cursor if there is one.

    `key` is what identifies an item and, if `is_sorted`, what they are sorted by. Sorted lists continue after the last
    name served even when that item has gone.

    Raises:
        InvalidParams: not a cursor of ours, or its item has gone from a list in the upstream's own order.
    """
    start = 0 if cursor is None else _after(items, _decode(cursor), key, is_sorted)
    served = items[start : start + size]
    more = start + size < len(items)
    return served, _encode(served[-1][key]) if more else None


def _after(items: Sequence[Item], last: str, key: str, is_sorted: bool) -> int:
    if is_sorted:
        return bisect_right(items, last, key=lambda item: item[key])
    for index, item in enumerate(items):
        if item[key] == last:
            return index + 1
    raise InvalidParams("The list changed; start again without a cursor.")


def _encode(name: str) -> str:
    return base64.urlsafe_b64encode(_FORM + name.encode(errors="surrogatepass")).rstrip(b"=").decode()


def _decode(cursor: Any) -> str:
    try:
        data = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        if data.startswith(_FORM):
            return data.removeprefix(_FORM).decode(errors="surrogatepass")
    except (TypeError, ValueError):
        pass
    raise InvalidParams("Not a cursor of this server; start again without one.")
