"""Results that fit: how much of a tool's text agents are given at once, and how long the rest is kept for them."""

import re
from fnmatch import fnmatchcase
from typing import Annotated, Final, cast

from pydantic import BeforeValidator, Field, WithJsonSchema

from gateway import spelling
from gateway.config.models.fields import Count, Model
from gateway.config.models.quantities import PositiveDuration, Size

MIN_TOKENS: Final = 256
"""What is said of the rest takes some 100 of them."""
WHOLE: Final = "whole"


def _tokens(value: object) -> int | None:
    """
    Raises:
        ValueError: neither a number of tokens nor `whole`.
    """
    if value is None or value == WHOLE:
        return None
    written = "" if isinstance(value, bool) else str(value).strip()
    if not re.fullmatch(r"[0-9]{1,12}", written) or int(written) < MIN_TOKENS:
        raise ValueError(f"must be a number of tokens, at least {MIN_TOKENS}, or `{WHOLE}`")
    return int(written)


TokenLimit = Annotated[
    int | None,
    BeforeValidator(_tokens),
    WithJsonSchema({"type": ["string", "integer"], "pattern": r"^(whole|[0-9]+)$|\$\{", "minimum": MIN_TOKENS}),
]
"""Tokens, some four bytes each; None: as many as there are."""


class ResultsConfig(Model):
    """How much of the text of its tools' results agents are given at once. More is kept, to be read in parts."""

    max_tokens: TokenLimit = None
    """Most tokens (some 4 bytes each) of a result's text; `whole` for all of it."""
    tools: dict[str, TokenLimit] = Field(default={})
    """Globs of the server's tools → the same for results of one, instead of `max_tokens`. The first that matches."""

    def limit_of(self, tool: str, *, words: bool = False) -> int | None:
        """Most tokens of a result of the server's tool of that name; None: there is no limit.

        Args:
            words: whether globs match it in words, too.
        """
        names = (tool, spelling.in_words(tool)) if words else (tool,)
        for glob, limit in self.tools.items():
            if any(fnmatchcase(name, glob) for name in names):
                return limit
        return self.max_tokens


def results_spelled(value: object) -> object:
    """`results: 4000` is short for `results: {max_tokens: 4000}`."""
    return cast(object, value) if isinstance(value, dict | ResultsConfig) else {"max_tokens": value}


class ResultSettings(Model):
    """What is kept of results that were too large to be given at once."""

    lifetime: PositiveDuration = 900.0
    """How long a result is kept."""
    max_bytes_per_principal: Size = 32 * 2**20
    """Most bytes of results that are kept for one principal and its agents. The oldest make room."""
    max_count_per_principal: Count = 100
    """Most results that are kept for one principal and its agents. The oldest make room."""
    max_bytes: Size = 256 * 2**20
    """Most bytes that are kept for all together. The oldest make room."""
