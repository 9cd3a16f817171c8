"""What stands for what: other words for the same, and what well-known products are for. Read from `words.txt`.

Those who ask for tools say what they want to have done; tools are called after products and their parts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Final

from gateway.search.words import words_of

Phrase = tuple[str, ...]
"""Stems, in their order."""

MAX_PHRASE: Final = 4
"""Most words of a phrase that stands for others."""
_CROWD: Final = 0.15
"""How much less each of many words counts that stand for one."""


@dataclass(frozen=True, slots=True)
class Thesaurus:
    others: Mapping[Phrase, Mapping[Phrase, float]]
    """Phrase → what it may stand for, and how well."""
    products: Mapping[str, Sequence[str]]
    """A product's name → words for what it is and does."""
    marks: Mapping[Phrase, Sequence[str]]
    """Phrase → marks of the products that are called so: see `mark`."""


def mark(product: str) -> str:
    """Stands among the words of each tool of a product. No word can look like it."""
    return "@" + product


@cache
def thesaurus() -> Thesaurus:
    """The one that comes with the gateway."""
    return parse((files("gateway.search") / "words.txt").read_text("utf-8"))


def parse(text: str) -> Thesaurus:
    """
    Args:
        text: in the form that `words.txt` describes.
    """
    others: dict[Phrase, dict[Phrase, float]] = {}
    products: dict[str, list[str]] = {}
    marks: dict[Phrase, list[str]] = {}
    for line in text.splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        if line.startswith("@"):
            name, _, what = line[1:].partition(":")
            for stem in words_of(name):
                products.setdefault(stem, []).extend(dict.fromkeys(words_of(what)))
                for phrase in [(stem,), *(tuple(words_of(each)) for each in what.split(","))]:
                    if phrase and mark(stem) not in marks.setdefault(phrase, []):
                        marks[phrase].append(mark(stem))
            continue
        left, _, right = line.partition(">")
        said = [tuple(words_of(each)) for each in left.split(",")]
        meant = [tuple(words_of(each)) for each in right.split(",")] if right else said
        weight = max(1, len(meant) - 1) ** -_CROWD
        for one in filter(None, said):
            for other in meant:
                if other and other != one:
                    mine = others.setdefault(one, {})
                    mine[other] = max(mine.get(other, 0.0), weight)
    return Thesaurus(others, products, marks)
