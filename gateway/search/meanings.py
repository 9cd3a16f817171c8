"""How near words are in meaning: a vector for each of some 12,000 words of English. Read from `meanings.bin`.

They were made of WordNet and of `words.txt` by latent semantic analysis (`tests/search/make_meanings.py`), and say
something of words that no line of that file has. A vector is as long as its word is rare in English: how rare it is
among tools would say what others there are.
"""

import math
from array import array
from collections.abc import Iterable, Sequence
from functools import cache
from importlib.resources import files
from operator import mul

Vector = Sequence[float]
"""Of length 1; empty where no word is known."""


class Meanings:
    """
    Args:
        data: the number of dimensions and the words, each on a line, and the vectors, a signed byte a number.
    """

    def __init__(self, data: bytes) -> None:
        dimensions, words, vectors = data.split(b"\n", 2)
        self._size = size = int(dimensions)
        self._starts = {word: number * size for number, word in enumerate(words.decode().split(" "))}
        self._vectors = memoryview(vectors).cast("b")

    def of(self, stems: Iterable[str]) -> Vector:
        """What several words mean together. Some 0.2 ms for a tool."""
        starts = [start for stem in stems if (start := self._starts.get(stem)) is not None]
        total = [*map(sum, zip(*(self._vectors[start : start + self._size].tolist() for start in starts), strict=True))]
        length = math.sqrt(sum(map(mul, total, total)))
        return array("f", [each / length for each in total]) if length else ()


def nearness(one: Vector, other: Vector) -> float:
    """From 0 to 1."""
    return max(0.0, sum(map(mul, one, other)))


@cache
def meanings() -> Meanings:
    """Those that come with the gateway."""
    return Meanings((files("gateway.search") / "meanings.bin").read_bytes())
