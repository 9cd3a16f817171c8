"""The collected tools, the wishes, and how often what is wished for is found."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

from gateway.search.index import Described, ToolIndex, words_of_tool

HERE: Final = Path(__file__).parent

Tool = dict[str, Any]


@dataclass(frozen=True)
class Wish:
    """What somebody wants to do."""

    words: str
    tools: frozenset[str]
    """`server/tool` of those that do it; one of them is enough."""


@cache
def tools() -> Mapping[str, Tool]:
    """`server/tool` → the tool."""
    lines = (HERE / "catalogues.jsonl").read_text("utf-8").splitlines()
    return {f"{one['server']}/{one['tool']['name']}": one["tool"] for one in map(json.loads, lines)}


def wishes(file: str) -> list[Wish]:
    lines = [line.split("\t") for line in (HERE / file).read_text("utf-8").splitlines() if not line.startswith("#")]
    return [Wish(words, frozenset(names)) for words, *names in lines]


def index_of(some: Mapping[str, Tool]) -> ToolIndex:
    return ToolIndex(
        (name, words_of_tool(Described.of(tool, [tool["name"]], name.partition("/")[0]))) for name, tool in some.items()
    )


def recall(index: ToolIndex, some: list[Wish], limit: int) -> float:
    """The share of wishes for which one of their tools is among the first so many."""
    return sum(not wish.tools.isdisjoint(index.search(wish.words, limit)) for wish in some) / len(some)
