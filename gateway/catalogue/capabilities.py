"""What the gateway says of itself when it speaks for many: their capabilities and instructions, put together."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, cast

from gateway.catalogue.intake import encode
from gateway.catalogue.skills import merged_settings
from gateway.protocol import SKILLS
from gateway.upstream.listing import Listing, declares_tasks, offers_tasks

MAX_INSTRUCTIONS: Final = 16 * 1024
"""Bytes (UTF-8) of instructions in all. They stand in every agent's context."""

_ELLIPSIS: Final = "…"


def declared_by(listing: Listing) -> Mapping[str, Any]:
    """The `ServerCapabilities` of an upstream; `tasks` only where that is something that can be used."""
    capabilities = listing.capabilities
    if "tasks" not in capabilities or offers_tasks(listing):
        return capabilities
    return {name: value for name, value in capabilities.items() if name != "tasks"}


def merged_capabilities(declared: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The union of several `ServerCapabilities`, as far as the gateway can honour it.

    `listChanged` holds wherever there is a list, whatever the upstreams say: the catalogue changes as they come and go.
    `tasks` are for agents of 2025-11-25 alone; the gateway lists them itself.
    An extension (or experiment) is declared when all upstreams that have it agree on its settings; skills, whatever
    their settings.
    """
    all_declared = list(declared)
    merged: dict[str, Any] = {}
    for kind in ("tools", "resources", "prompts"):
        if any(_is_declared(one, kind) for one in all_declared):
            merged[kind] = {"listChanged": True}
    if any(_section(one, "resources").get("subscribe") is True for one in all_declared):
        merged["resources"]["subscribe"] = True
    for kind in ("completions", "logging"):
        if any(_is_declared(one, kind) for one in all_declared):
            merged[kind] = {}
    if tasks := [_section(one, "tasks") for one in all_declared if declares_tasks(one)]:
        merged["tasks"] = {"list": {}, "requests": {"tools": {"call": {}}}}
        if any(_is_declared(each, "cancel") for each in tasks):
            merged["tasks"]["cancel"] = {}
    for kind in ("extensions", "experimental"):
        if agreed := _agreed([_section(one, kind) for one in all_declared]):
            merged[kind] = agreed
    if skills := [each[SKILLS] for one in all_declared if SKILLS in (each := _section(one, "extensions"))]:
        merged["extensions"] = {**merged.get("extensions", {}), SKILLS: merged_settings(skills)}
        merged.setdefault("resources", {"listChanged": True})  # which they consist of
    return merged


def merged_instructions(parts: Sequence[tuple[str, str]]) -> str | None:
    """`(heading, text)` pairs as one text of at most `MAX_INSTRUCTIONS` bytes, None when there are none.

    Texts that are too long are cut, each to a fair share, so that one upstream's verbosity does not silence another.
    """
    headings = [f"## {heading}\n\n" for heading, _ in parts]
    room = MAX_INSTRUCTIONS - sum(len(heading.encode()) + len("\n\n") for heading in headings)
    texts = _fair_cut([text for _, text in parts], max(room, 0))
    return cut("\n\n".join(map(str.__add__, headings, texts)), MAX_INSTRUCTIONS) if parts else None


def cut(text: str, size: int) -> str:
    """`text` in at most `size` bytes of UTF-8, with an ellipsis where something is missing."""
    data = _utf8(text)
    if len(data) <= size:
        return text
    kept = data[: max(size - len(_ELLIPSIS.encode()), 0)].decode(errors="ignore")
    return kept + _ELLIPSIS if size >= len(_ELLIPSIS.encode()) else ""


def _utf8(text: str) -> bytes:
    return text.encode(errors="surrogatepass")  # half a surrogate pair: it will be escaped, but counts about as much


def _fair_cut(texts: Sequence[str], room: int) -> list[str]:
    """Cut the longest until all fit into `room` bytes; what a short one leaves over goes to the longer ones."""
    fitted = list(texts)
    sizes = [len(_utf8(text)) for text in texts]
    for left, index in zip(range(len(texts), 0, -1), sorted(range(len(texts)), key=sizes.__getitem__), strict=True):
        fitted[index] = cut(texts[index], room // left)
        room -= len(_utf8(fitted[index]))
    return fitted


def _is_declared(capabilities: Mapping[str, Any], kind: str) -> bool:
    return isinstance(capabilities.get(kind), dict)


def _section(capabilities: Mapping[str, Any], kind: str) -> dict[str, Any]:
    return cast("dict[str, Any]", capabilities[kind]) if _is_declared(capabilities, kind) else {}


def _agreed(sections: Iterable[dict[str, Any]]) -> dict[str, Any]:
    agreed: dict[str, Any] = {}
    forms: dict[str, set[bytes | None]] = {}
    for section in sections:
        for name, settings in section.items():
            agreed.setdefault(name, settings)
            forms.setdefault(name, set()).add(encode(settings))
    return {name: agreed[name] for name in sorted(agreed) if len(forms[name]) == 1 and None not in forms[name]}
