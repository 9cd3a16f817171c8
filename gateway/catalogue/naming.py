"""What agents call things: public names for tools and prompts, prefixes for URIs that are another upstream's.

Every function is pure, and looks at one upstream's names only. So neither the order in which upstreams connect nor an
upstream added later can change what a tool is called. Nothing is ever parsed back: the catalogue keeps an index from
public name to owner. Which URIs need a prefix is `ownership`'s to say.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from hashlib import blake2b
from itertools import chain, count
from typing import Final

from gateway.catalogue.transliteration import latin

MAX_NAME: Final = 64
"""Characters of a public name; what today's agents accept is `^[A-Za-z0-9_-]{1,64}$`."""

MAX_PREFIX: Final = 32
"""Characters of an upstream's prefix, which leaves at least 30 to the tool."""

SEPARATOR: Final = "__"

UI_SCHEME: Final = "ui://"

_MARK: Final = 8
"""Hexadecimal digits of the hash that tells apart two names that would otherwise be one."""

_PREFIX_MARK: Final = 6
_CLEAN_PREFIX: Final = re.compile(r"[A-Za-z0-9-]+(?:_[A-Za-z0-9-]+)*")
_CLEAN_SLUG: Final = re.compile(r"[a-z][a-z0-9.-]*")
_FORBIDDEN: Final = re.compile(r"[^A-Za-z0-9_-]")


def public_prefix(upstream: str) -> str:
    """What stands before `__` in the public names of `upstream`: at most 32 of `[A-Za-z0-9_-]`, without `__` inside and
    without `_` at either end, so that the first `__` of a public name is always the separator.

    A name that is already so stands for itself. Any other gets the hash of the original, even where it would be unique
    without: otherwise adding an upstream could rename another one's tools.
    """
    if len(upstream) <= MAX_PREFIX and _CLEAN_PREFIX.fullmatch(upstream):
        return upstream
    slug = re.sub(r"[^A-Za-z0-9-]+", "_", upstream).strip("_")
    return _slug_with_mark(slug, upstream)


def public_names(
    upstream: str | None, names: Collection[str], renamed: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Map each of one upstream's own names to a unique public one, `{prefix}__{name}`; without prefix for `None`.

    Other scripts are written in Latin letters, and a name some of whose letters are lost that way gets its hash; other
    forbidden characters become `_`; a name over the budget is cut and marked with a hash. Where several names would
    become one, the name that needed no change keeps it and every other is marked. `renamed` maps own names to what they
    are to be called instead.
    """
    head = "" if upstream is None else public_prefix(upstream) + SEPARATOR
    wanted = {name: _fit(head + _allowed(local), name) for name, local in _locals(names, renamed)}
    kept = {name for name, public in wanted.items() if public == head + name}
    return _settle(wanted, kept, MAX_NAME)


def own_names(names: Collection[str], renamed: Mapping[str, str] | None = None) -> dict[str, str]:
    """The same for an upstream seen alone: its names are verbatim, valid or not, but for the renamed ones."""
    wanted = dict(_locals(names, renamed))
    return _settle(wanted, {name for name, local in wanted.items() if local == name}, None)


def unused(wanted: str, key: str, taken: Collection[str], limit: int | None = MAX_NAME) -> str:
    """`wanted` if it is not in `taken`, else `wanted` marked with a hash of `key`. `limit` is in characters."""
    if wanted not in taken:
        return wanted
    return next(name for name in _marked(wanted, key, limit) if name not in taken)


def uri_prefix(upstream: str) -> str:
    """What stands before a URI when the bare one is another upstream's: `github+`.

    A scheme's characters only (RFC 3986, section 3.1); like `public_prefix`, marked unless the name stands for itself.
    """
    if len(upstream) <= MAX_PREFIX and _CLEAN_SLUG.fullmatch(upstream):
        return upstream + "+"
    slug = re.sub(r"[^a-z0-9.]+", "-", upstream.lower()).strip("-.")
    if slug[:1].isdigit():
        slug = "x-" + slug
    return _slug_with_mark(slug, upstream) + "+"


def prefixed(prefix: str, uri: str) -> str:
    """A URI with its prefix. A `ui://` one stays of that scheme, by which hosts know what they may show (MCP Apps)."""
    return UI_SCHEME + prefix + uri.removeprefix(UI_SCHEME) if uri.startswith(UI_SCHEME) else prefix + uri


def unprefixed(prefix: str, uri: str) -> str | None:
    """The inverse of `prefixed`; None when the URI has no such prefix."""
    if uri.startswith(UI_SCHEME + prefix):
        return UI_SCHEME + uri.removeprefix(UI_SCHEME + prefix)
    return uri.removeprefix(prefix) if uri.startswith(prefix) else None


def uri_prefixes(upstream: str) -> Iterator[str]:
    """`uri_prefix`, and what to use instead where that is taken, without end."""
    prefix = uri_prefix(upstream)
    marked = (f"{prefix[:-1]}-{_digest(upstream, _PREFIX_MARK, salt)}+" for salt in count())
    return chain([prefix], marked)


def _locals(names: Collection[str], renamed: Mapping[str, str] | None) -> Iterator[tuple[str, str]]:
    return ((name, (renamed or {}).get(name, name)) for name in set(names))


def _allowed(local: str) -> str:
    """`local` in the characters that agents accept."""
    if local.isascii():
        return _FORBIDDEN.sub("_", local)
    text, lost = latin(local)
    text = _FORBIDDEN.sub("_", text)
    if not lost and text.strip("_-"):
        return text
    stem = re.sub("_+", "_", text).strip("_")
    return f"{stem}_{_digest(local, _MARK)}" if stem else f"x{_digest(local, _MARK)}"


def _fit(public: str, name: str) -> str:
    return public if 0 < len(public) <= MAX_NAME else next(_marked(public, name, MAX_NAME))


def _settle(wanted: Mapping[str, str], kept: Collection[str], limit: int | None) -> dict[str, str]:
    """Give each name what it wants, or that with a mark where `kept` names or several others want the same."""
    claims = Counter(wanted.values())
    settled = {name: wanted[name] for name in kept}
    taken = set(settled.values())
    taken.update(public for public, claimed in claims.items() if claimed > 1)
    for name in sorted(wanted.keys() - settled.keys()):
        settled[name] = unused(wanted[name], name, taken, limit)
        taken.add(settled[name])
    return settled


def _marked(public: str, key: str, limit: int | None) -> Iterator[str]:
    stem = public if limit is None else public[: limit - _MARK - 1]
    return (f"{stem}_{_digest(key, _MARK, salt)}" for salt in count())


def _slug_with_mark(slug: str, upstream: str) -> str:
    slug = slug[: MAX_PREFIX - _PREFIX_MARK - 1].rstrip("_-.") or "server"
    return f"{slug}-{_digest(upstream, _PREFIX_MARK)}"


def _digest(text: str, digits: int, salt: int = 0) -> str:
    data = text.encode("utf-8", "surrogatepass")
    return blake2b(data, digest_size=digits // 2, salt=salt.to_bytes(8)).hexdigest()
