"""Texts and names as the words that are compared: split, in lower case, without endings, and without the smallest."""

import re
from functools import cache, lru_cache
from typing import Any, Final

_WORD: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[^\W\d_A-Z]+|[0-9]+")
"""`searchIssues`, `search_issues`, `search-issues` and `HTTPServer` are two words each."""
_SMALL: Final = frozenset(
    {
        *("below", "everything", "let", "now", "please", "somebody", "something", "take", "thing", "things", "way"),
        *("a", "about", "after", "all", "also", "an", "and", "any", "are", "as", "at", "be", "been", "before"),
        *("between", "both", "but", "by", "can", "do", "does", "each", "for", "from", "given", "has", "have"),
        *("how", "i", "if", "in", "into", "is", "it", "its", "me", "more", "most", "must", "my", "need", "no"),
        *("not", "of", "on", "one", "only", "or", "other", "our", "out", "so", "than", "that", "the", "their"),
        *("them", "then", "there", "these", "this", "those", "through", "to", "two", "until", "up", "us"),
        *("use", "used", "uses", "using", "via", "want", "was", "we", "what", "when", "which", "who", "why"),
        *("will", "with", "without", "you", "whether", "your", "new", "should"),
    }
)
MAX_TEXT: Final = 4_000
"""Characters of one text that are looked at."""
MAX_WORD: Final = 40
REMEMBERED: Final = 20_000


def words_of(text: str) -> list[str]:
    """The words of a text, in their order."""
    found = (word.lower() for word in _WORD.findall(text[:MAX_TEXT]))
    return [stem(word) for word in found if word not in _SMALL and 1 < len(word) <= MAX_WORD]


@lru_cache(maxsize=REMEMBERED)
def stem(word: str) -> str:
    """`issues`, `issued` → `issu`. English; other languages' words mostly stay as they are."""
    return _stemmer().stemWord(word)


@cache
def _stemmer() -> Any:
    import snowballstemmer  # pyright: ignore[reportMissingTypeStubs]

    stemmer: Any = snowballstemmer.stemmer("english")  # pyright: ignore[reportUnknownMemberType]
    return stemmer
