"""What `mcp-gateway tools --tokens` shows: what the tools of each view cost a model that is shown them."""

import sys
from collections.abc import Callable, Iterable, Sequence
from importlib import import_module
from typing import Any, Final

import click

from gateway.cli.ui.terminal import bold, dim, print_json, table, width

ENCODING: Final = "o200k_base"
"""tiktoken's, of the models of today."""

Tool = dict[str, Any]
View = tuple[str, Sequence[Tool]]
"""Its path, and the tools that it lists."""


def show(views: Iterable[View], *, as_json: bool) -> None:
    """Print the views with the number of their tools and of tokens."""
    count, how = counter()
    rows = [(path, len(tools), sum(map(count, tools))) for path, tools in views]
    if as_json:
        print_json([{"view": path, "tools": many, "tokens": tokens, "counted": how} for path, many, tokens in rows])
        return
    shown = [(path, str(many), f"{tokens:,}") for path, many, tokens in rows]
    header = ("VIEW", "TOOLS", "TOKENS")
    click.echo("\n".join(table(shown, header=header, styles=(bold,), right=(1, 2), limit=width(sys.stdout))))
    click.echo(dim(f"\nName, description and input schema of each tool that is listed; {how}."))


def counter() -> tuple[Callable[[Tool], int], str]:
    """What counts the tokens of a tool, and how it does that, in words."""
    from gateway.catalogue.weights import shown_bytes, tokens_of

    def estimate(tool: Tool) -> int:
        return round(tokens_of(tool))

    try:
        tiktoken: Any = import_module("tiktoken")  # there only if somebody has installed it
    except ImportError:
        return estimate, "an estimate (bytes ÷ 4), for tiktoken is not installed"
    try:
        encode: Callable[..., list[int]] = tiktoken.get_encoding(ENCODING).encode
    except Exception as error:  # it fetches its words where it does not have them yet
        return estimate, f"an estimate (bytes ÷ 4), for tiktoken has no words to count by ({type(error).__name__})"

    def count(tool: Tool) -> int:
        return len(encode(shown_bytes(tool).decode(), disallowed_special=()))

    return count, f"counted with tiktoken ({ENCODING})"
