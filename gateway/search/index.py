"""An index of tools, and what of it fits a wish: BM25 over weighted fields, and over what a wish's words stand for; of
what fits best, what is nearest in meaning.

An index is of the tools that somebody sees, and of no others: how rare a word is among tools that are hidden would
show in the order of those that are not.
"""

import math
from array import array
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from heapq import nlargest
from typing import Any, Final, cast

from gateway.search.meanings import Vector, meanings, nearness
from gateway.search.thesaurus import MAX_PHRASE, Phrase, Thesaurus, mark, thesaurus
from gateway.search.words import words_of

NAME, TITLE, SERVER, DESCRIPTION, PARAMETERS, PRODUCT = 2.0, 0.5, 0.3, 1.0, 0.4, 4.0
MARK = 10.0
"""How much a word counts, by where it stands."""
_USUAL: Final = {"name": 3.0, "title": 3.0, "server": 1.5, "description": 25.0, "parameters": 30.0}
"""Words that a field has as a rule; what has more says less with each."""
_LENGTH: Final = 0.75
"""How much that matters (BM25's b)."""
_ENOUGH: Final = 1.5
"""From where on more of the same word hardly counts (BM25's k1)."""
_MEANT: Final = 0.7
"""How much what a word stands for counts beside the word itself."""
_PHRASE: Final = 2.0
"""How much more several words together say."""
_COVERED: Final = 0.6
"""How much less a word says that is part of such a phrase."""
_MARKED: Final = 0.5
"""How much it says that a product is named, or what it is."""
_COVERAGE: Final = 0.6
"""How much more fits a tool all of whose name is meant."""
_NEAR: Final = 0.5
"""How much more fits a tool that means the same."""
CANDIDATES: Final = 100
"""Tools that these two are looked at for."""
LOOKED_AT: Final = 300
"""Characters of a description that say what a tool means; the rest is often how to use it."""
MAX_WISH: Final = 32
"""Words of a wish that are looked at."""
MAX_DEPTH: Final = 4
"""Levels of an input schema that are."""

NOTHING: Final = ((), ())

Words = Mapping[str, float]
"""Words, and how much each says."""


@dataclass(frozen=True, slots=True)
class ToolWords:
    """A tool as the index sees it."""

    words: Words
    name: frozenset[str]
    """Those of its name that say more than whose it is."""
    meaning: Vector
    """Of its name and what it is said to be."""


@dataclass(frozen=True, slots=True)
class Described:
    """What is known of a tool."""

    names: Sequence[str]
    """Its own, and what it is called here."""
    server: str
    title: str = ""
    description: str = ""
    parameters: str = ""

    @classmethod
    def of(cls, tool: Mapping[str, Any], names: Sequence[str], server: str) -> "Described":
        """From a tool's definition, which may hold anything."""
        annotations = tool.get("annotations")
        titles = (
            [tool.get("title"), cast("dict[str, Any]", annotations).get("title")]
            if isinstance(annotations, dict)
            else [tool.get("title")]
        )
        title = next((each for each in titles if isinstance(each, str)), "")
        description = tool.get("description")
        parameters = " ".join(_parameters(tool.get("inputSchema")))
        return cls(names, server, title, description if isinstance(description, str) else "", parameters)


def words_of_tool(tool: Described, known: Thesaurus | None = None) -> ToolWords:
    """Worked out once for each tool: none of it depends on what others there are."""
    known = known or thesaurus()
    names, server = [words_of(name) for name in tool.names], words_of(tool.server)
    fields = (
        ("name", NAME, list(dict.fromkeys(word for each in names for word in each))),
        ("title", TITLE, words_of(tool.title)),
        ("server", SERVER, server),
        ("description", DESCRIPTION, words_of(tool.description)),
        ("parameters", PARAMETERS, words_of(tool.parameters)),
    )
    found: dict[str, float] = {}
    for field, weight, words in fields:
        usual = 1 - _LENGTH + _LENGTH * len(words) / _USUAL[field]
        for word, many in Counter(words).items():
            found[word] = found.get(word, 0.0) + weight * (1 + math.log(many)) / usual
    named = {*server, *(each[0] for each in names if each)} & known.products.keys()
    for word in {word for name in named for word in known.products[name]}:
        found[word] = found.get(word, 0.0) + PRODUCT
    own = {word for each in names for word in each}
    said = [*server, *names[0], *names[0], *words_of(tool.title), *words_of(tool.description[:LOOKED_AT])]
    marks = {mark(name): MARK for name in named}
    return ToolWords(found | marks, frozenset(own - named - {*server} or own), meanings().of(said))


class ToolIndex:
    """
    Args:
        tools: name → words; all that somebody sees.
    """

    def __init__(self, tools: Iterable[tuple[str, ToolWords]], known: Thesaurus | None = None) -> None:
        self._known = known or thesaurus()
        some = sorted(tools, key=lambda tool: tool[0])
        self._names = [name for name, _ in some]
        self._own = [tool.name for _, tool in some]
        self._meanings = [tool.meaning for _, tool in some]
        postings: dict[str, tuple[array[int], array[float]]] = {}
        for number, (_, tool) in enumerate(some):
            for word, weight in tool.words.items():
                numbers, scores = postings.get(word) or postings.setdefault(word, (array("I"), array("f")))
                numbers.append(number)
                scores.append(weight / (_ENOUGH + weight))
        self._postings: dict[str, tuple[array[int], array[float]]] = {}
        """Word → the tools that have it, and how much it says of each: in arrays, for there is an index for each part
        of the catalogue that somebody sees."""
        for word, (numbers, scores) in postings.items():
            rarity = math.log(1 + (len(some) - len(numbers) + 0.5) / (len(numbers) + 0.5))
            self._postings[word] = numbers, array("f", [rarity * score for score in scores])

    def __len__(self) -> int:
        return len(self._names)

    def search(self, wish: str, limit: int) -> list[str]:
        """The names of those that fit best, the best first; none that fits not at all."""
        scores: dict[int, float] = {}
        meant: dict[str, float] = {}
        for concept in self._concepts(wish):
            best: dict[int, float] = {}
            for word, weight in concept.items():
                meant[word] = max(meant.get(word, 0.0), weight)
                for number, score in zip(*self._postings.get(word, NOTHING), strict=True):
                    if score * weight > best.get(number, 0.0):
                        best[number] = score * weight
            for number, score in best.items():
                scores[number] = scores.get(number, 0.0) + score
        likely = nlargest(CANDIDATES, scores, key=scores.__getitem__)
        wished = meanings().of(words_of(wish)[:MAX_WISH])
        for number in likely:
            own = self._own[number]
            scores[number] *= 1 + _COVERAGE * sum(min(1.0, meant.get(word, 0.0)) for word in own) / (len(own) or 1)
            scores[number] *= 1 + _NEAR * nearness(wished, self._meanings[number])
        likely.sort(key=lambda number: (-scores[number], number))
        return [self._names[number] for number in likely[:limit]]

    def _concepts(self, wish: str) -> Iterable[Words]:
        """Each word or phrase of a wish, with all that it may stand for: the best of these counts, once."""
        words, known = words_of(wish)[:MAX_WISH], self._known
        covered = [1.0] * len(words)
        for length in range(MAX_PHRASE, 0, -1):
            for start in range(len(words) - length + 1):
                phrase: Phrase = tuple(words[start : start + length])
                meant, marks = known.others.get(phrase), known.marks.get(phrase, ())
                if length > 1 and meant is None and not marks:
                    continue
                left = min(covered[start : start + length])
                concept: dict[str, float] = {phrase[0]: left} if length == 1 else {}
                for other, how_well in (meant or {}).items():
                    weight = left * _MEANT * how_well * (_PHRASE if length > 1 else 1.0) / math.sqrt(len(other))
                    for word in other:
                        concept[word] = max(concept.get(word, 0.0), weight)
                if concept:
                    yield concept
                if marks:
                    yield dict.fromkeys(marks, left * _MARKED * (_PHRASE if length > 1 else 1.0))
                if length > 1:
                    covered[start : start + length] = [_COVERED] * length


def _parameters(schema: object, depth: int = 0) -> Iterable[str]:
    """Names and descriptions in an input schema."""
    if not isinstance(schema, dict) or depth >= MAX_DEPTH:
        return
    properties = cast("dict[str, Any]", schema).get("properties")
    for name, each in cast("dict[str, Any]", properties).items() if isinstance(properties, dict) else ():
        yield name
        if isinstance(each, dict):
            inner = cast("dict[str, Any]", each)
            if isinstance(description := inner.get("description"), str):
                yield description
            yield from _parameters(inner, depth + 1)
            yield from _parameters(inner.get("items"), depth + 1)
