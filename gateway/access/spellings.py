"""One URI, many spellings: what a rule about URIs has to be held against. Pure.

Which spellings mean the same is for the upstream to say, and each says it differently. So an allowed URI must be
allowed as it is written and in normal form; a denied one is denied in any spelling that some server might take for it;
and where two readers could see two different things, there is no normal form.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final
from urllib.parse import unquote_to_bytes

_PARTS: Final = re.compile(r"(?:([A-Za-z][A-Za-z0-9+.-]*):)?(?://([^/?#]*))?([^?#]*)(\?[^#]*)?(#.*)?", re.DOTALL)
"""RFC 3986, appendix B."""
_UNSAFE: Final = re.compile(r"[\x00-\x1f\x7f\\]|%(?![0-9A-Fa-f]{2})|%(?:[01][0-9A-F]|7F)", re.IGNORECASE)
"""Characters that no URI has and servers treat differently, their escapes, and escapes that are none."""
_HIDDEN: Final = re.compile(r"%(?:2F|5C|25|3F|23)", re.IGNORECASE)
"""Escapes of controls and of `/ \\ % ? #`: decoded, they would divide a path elsewhere."""
_SCHEME_BEGINS: Final = re.compile(r"[A-Za-z0-9+.-]*[*?\[]")
"""How a glob begins that has no colon and yet matches URIs: with a wildcard where their scheme is."""
_DOTS: Final = (".", "..")
_DEFAULT_PORTS: Final = {"http": "80", "https": "443", "ws": "80", "wss": "443", "ftp": "21"}


@dataclass(frozen=True, slots=True)
class _Uri:
    scheme: str
    authority: str | None
    path: str
    rest: str
    """Query and fragment."""

    def __str__(self) -> str:
        scheme = f"{self.scheme}:" if self.scheme else ""
        return scheme + (f"//{self.authority}" if self.authority is not None else "") + self.path + self.rest


def normal_form(uri: str) -> str | None:
    """A URI percent-decoded, without dot and empty segments, scheme and host in lower case. None if there is no telling
    what that would be."""
    raw, decoded = _split(uri), _decoded(uri)
    if uri != uri.strip() or _UNSAFE.search(uri) or _HIDDEN.search(f"{raw.authority}{raw.path}"):
        return None
    if decoded is None or _dotted(raw.path) != _dotted(decoded.path):
        return None
    segments = decoded.path.split("/")
    resolved, climbs = _resolved(segments)
    if climbs and decoded.authority:
        return None  # a server that takes the host for a folder leaves it
    if ".." in segments and "" in segments[1:-1]:
        return None  # does `a//../b` mean `a/b` or `b`?
    is_rooted, is_folder = decoded.path.startswith("/"), segments[-1] in ("", *_DOTS)
    path = "/" * is_rooted + "/".join(resolved) + "/" * (is_folder and bool(resolved))
    form = replace(decoded, path=path)
    return str(form) if _split(str(form)) == form else None  # `./a:b` would be the scheme `a`


def spellings(uri: str) -> Iterator[str]:
    """What else some server might take a URI for: without query, user, port and last slash, however many slashes it
    has, and decoded once more."""
    for form in dict.fromkeys(filter(None, (uri, normal_form(uri), normal_form(uri.strip().replace("\\", "/"))))):
        parts = _split(form)
        host = (parts.authority or "").rpartition("@")[2]
        host = host.partition(":")[0].rstrip(".") if not host.startswith("[") else host
        scheme, path = parts.scheme.lower(), parts.path.split("/")
        for segments in ([host.lower(), *path], path)[: 1 + (scheme == "file")]:  # a file's host may as well be absent
            bare = "/".join(_resolved(segments)[0])
            ends = dict.fromkeys(("", "/", parts.rest))
            yield from (f"{scheme}:{slashes}{bare}{end}" for slashes in ("", "/", "//", "///") for end in ends)
        yield form
        yield str(replace(parts, rest=""))


def may_match_uris(glob: str) -> bool:
    """Whether a glob of a rule can be about URIs. One for tools and prompts has the `_` of their names, which no scheme
    has, before its first wildcard; what begins otherwise is taken for both."""
    return ":" in glob or _SCHEME_BEGINS.match(glob) is not None


@lru_cache(maxsize=4096)
def glob_forms(glob: str) -> tuple[str, ...]:
    """A glob as it is written, and, if it is one for URIs, with scheme and host in lower case, without escapes and
    without the port that its scheme has anyway."""
    parts = _split(glob)
    decoded = _decoded(glob)
    if not parts.scheme or decoded is None:
        return (glob,)
    host, colon, port = (decoded.authority or "").rpartition(":")
    bare = replace(decoded, authority=host) if colon and port == _DEFAULT_PORTS.get(decoded.scheme) else decoded
    return tuple(dict.fromkeys([glob, str(decoded), str(bare)]))


def _split(uri: str) -> _Uri:
    match = _PARTS.fullmatch(uri)
    assert match is not None  # everything is of that form
    scheme, authority, path, query, fragment = match.groups()
    return _Uri(scheme or "", authority, path, (query or "") + (fragment or ""))


def _decoded(uri: str) -> _Uri | None:
    parts = _split(uri)
    try:
        path, rest = (unquote_to_bytes(part).decode() for part in (parts.path, parts.rest))
        authority = None if parts.authority is None else unquote_to_bytes(parts.authority).decode().lower()
    except UnicodeError:
        return None
    return _Uri(parts.scheme.lower(), authority, path, rest)


def _dotted(path: str) -> list[str]:
    return [segment if segment in _DOTS else "" for segment in path.split("/")]


def _resolved(segments: list[str]) -> tuple[list[str], bool]:
    """The segments without dot and empty ones, and whether they climb above where they begin."""
    kept: list[str] = []
    climbs = False
    for segment in segments:
        if segment == "..":
            climbs |= not kept
            del kept[-1:]
        elif segment not in ("", "."):
            kept.append(segment)
    return kept, climbs
